"""Tables of pages: one thing changed at a time, and what else was studied."""

import pandas as pd
from findings import chosen_guidance
from scipy import stats
from tables import markdown, with_interval

DOWNSTREAM = {
    "weights": "groups weighted alike, no generator",
    "plain": "plain faces added",
    "fair": "fair faces added, method (e)",
    "guided": "guided faces added",
    "more_real": "as many more real faces added",
}

CHANGED = {
    "choice": "strength and first step",
    "strength": "strength",
    "first_guided_step": "steps left alone",
    "covariance_type": "covariances",
    "assignment": "cells given to faces",
    "n_components": "Gaussians per cell",
    "labels": "pseudo-labelled faces",
    "wrong_labels": "share of wrong labels",
    "steps": "steps of the sampler",
    "skipped_steps": "first steps skipped, started from the Gaussian",
    "temper": "posterior tempered, factor",
    "idea": "ideas against what is missed",
}
NEAR = {
    "nearer": "nearer than 1 % of held-out faces",
    "as_near": "as near as 95 % of copies",
}
CROWDS = {
    "plain": "as it is, truncation {psi:g}",
    "sampled": "drawn anew, one Gaussian per group, truncation {psi:g} toward its own mean",
    "moved": "moved from group to group, strength {strength:g}, truncation {psi:g}",
}


def ablations_table(results, worlds):
    """One condition changed at a time: discrepancy with interval, recognition and quality."""
    table = pd.read_csv(results / "ablations.csv")
    names = {
        "labels": "pseudo-labelled faces",
        "noise": "share of wrong labels",
        "covariance": "covariances",
        "rank": "principal components",
    }
    rows = []
    for (world, what), part in table.groupby(["world", "what"], sort=False):
        if what != "covariance":
            part = part.sort_values("setting", key=pd.to_numeric)
        for _, row in part.iterrows():
            numbers = [with_interval(row), f"{row['own_group']:.3f}", f"{row['ffd']:.2f}"]
            rows.append([world, names[what], row["setting"], *numbers])
    header = ["world", "what", "setting", "corrected joint FD", "end in their group"]
    floors = table.groupby("world")["fd_floor95"].mean()
    note = f"\nMethod (e), N = {table['n'].min()}, seed {table['seed'].min()}, weights from a pilot"
    note += f" of {table['pilot'].max()} faces. Noise floors: "
    note += ", ".join(f"{world} {floor:.3f}" for world, floor in floors.items()) + ".\n"
    return markdown([*header, "Frechet distance"], rows, text=3) + note


def overshoot_table(results, world):
    """How far outward: recognition, fairness, quality and variety at every factor."""
    table = pd.read_csv(results / "overshoot.csv").query("world == @world")
    rows = []
    for _, row in table.iterrows():
        quality = [f"{row['ffd']:.2f}", f"{row['within_group_variance']:.2f}"]
        known = [f"{row['overshoot']:.1f}", f"{row['own_group']:.3f}", with_interval(row)]
        rows.append([*known, *quality])
    header = ["overshoot", "recognised as their group", "corrected FD", "Frechet distance"]
    header.append("variance within a gender, over real faces'")
    last = table.iloc[-1]
    note = f"\nN = {last['n']}, seed {last['seed']}, noise floor {last['fd_floor95']:.3f}. "
    note += f"Of real held-out faces {last['own_group_real']:.3f} are recognised as their group.\n"
    return markdown(header, rows) + note


def guidance_table(results, world):
    """Strengths and first steps tried, the chosen one marked; then one thing changed at a time."""
    table = pd.read_csv(results / "guidance.csv").query("world == @world")
    chosen = chosen_guidance(results, world)["setting"]
    rows = []
    for what, name in CHANGED.items():
        part = table[table["what"] == what]
        if what == "choice":
            part = part.sort_values(["first_guided_step", "strength"])
        elif what not in ("covariance_type", "assignment", "idea"):
            part = part.sort_values("setting", key=pd.to_numeric)
        for _, row in part.iterrows():
            setting, change = str(row["setting"]), f"{row['change']:.1f}"
            if what == "choice" and setting == chosen:
                setting = f"**{setting}: chosen**"
            known = [row["recognition_second"], row["recognition"]]
            numbers = [f"{value:.2f}" for value in (*known, row["brightness_away"])]
            numbers += [f"{row['sharpness']:.2f}", change, with_interval(row)]
            numbers += [f"{row['fd_second']:.3f}", f"{row['ffd']:.1f}"]
            rows.append([name, setting, *numbers])
    header = ["what", "setting", "recognised by the second network", "by the first"]
    header += ["brightness away", "sharpness", "change", "corrected joint FD"]
    header += ["by the second network", "Frechet distance"]
    tried = table["what"] == "choice"
    note = f"\nN = {table['n'].min()}, seed {table['seed'].min()}, no pilot; noise floor"
    note += f" {table['fd_floor95'][tried].mean():.3f}"
    if not tried.all():  # their intervals know of the quotas, and so do their floors
        floors = table["fd_floor95"][~tried]
        note += f" of the pairs, taken for independent faces, and {floors.min():.3f} to"
        note += f" {floors.max():.3f} of the other rows, by their quotas"
    note += ". Brightness away: the worst group's, in standard"
    note += " deviations of real faces of that group. Sharpness: over plain faces'. Change: from"
    note += " the plain face of the same seed, of 255 levels.\n"
    return markdown(header, rows, text=2).replace("nan", "n/a") + note


def downstream_table(results, worlds):
    """A classifier trained on real faces alone, and how each addition changes its errors."""
    table = pd.read_csv(results / "downstream.csv")
    if "trained_gap" in table:  # what goes with gender has a table of its own
        table = table[table["trained_gap"].isna()]
    columns = ["accuracy", "worst_group", "equalized_odds"]
    rows = downstream_rows(table, columns)
    header = ["world", "task", "training", "accuracy", "accuracy of the worst group"]
    note = f"\nMean of {table['seed'].nunique()} seeds; changes are paired by seed, with 95 %"
    note += " intervals (Student's t). Every network sees the same number of batches. N: held-out"
    note += " faces, and how many are in the smallest cell of group and answer.\n"
    return markdown([*header, "equalised-odds difference"], rows, text=3) + note


def confounds_table(results, world):
    """What goes with gender in training, and how much more of it a classifier then says."""
    table = pd.read_csv(results / "downstream.csv").query("world == @world")
    table = table[table["trained_gap"].notna()]
    columns = ["accuracy", "trained_gap", "exaggeration", "equalized_odds"]
    rows = [row[1:] for row in downstream_rows(table, columns)]
    header = ["task", "training", "accuracy", "women less men, in training"]
    header += ["said beyond what is true", "equalised-odds difference"]
    note = "\nWomen less men: how much more frequent it is among women of the training set. Said"
    note += " beyond what is true: the same difference in what a network says of held-out faces,"
    note += " less the difference that is there. Changes are paired by seed, with 95 % intervals.\n"
    return markdown(header, rows, text=2) + note


def downstream_rows(table, columns):
    """World, task, training, then numbers: of real faces alone; of additions, paired changes."""

    def change_of(values):
        """Mean of paired differences, with its interval; nothing where nothing was measured."""
        if values.isna().any():
            return ""
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        mean = values.mean()
        return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"

    rows = []
    for (world, task), part in table.groupby(["world", "task"], sort=False):
        wide = part.pivot(index="seed", columns="method", values=columns)
        alone = [wide[measure]["alone"].mean() for measure in columns]
        alone = ["" if pd.isna(mean) else f"{mean:.3f}" for mean in alone]
        tested = f"N = {part['tested'].iloc[0]:,}"
        if "smallest_cell" in part.dropna(axis=1):
            tested += f", {part['smallest_cell'].iloc[0]:.0f}"
        rows.append([world, f"{task} ({tested})", "*real faces alone*", *alone])
        for method, name in DOWNSTREAM.items():
            if method in set(part["method"]):
                changes = [change_of(wide[m][method] - wide[m]["alone"]) for m in columns]
                rows.append([world, task, name, *changes])
        if {"plain", "guided"} <= set(part["method"]):  # what evenness does, beyond more faces
            changes = [change_of(wide[m]["guided"] - wide[m]["plain"]) for m in columns]
            rows.append([world, task, "*guided less plain faces*", *changes])
    return rows


def memorization_table(results, world):
    """Distances to the nearest training face, and how many come nearer than held-out faces do."""
    table = pd.read_csv(results / "memorization.csv").query("world == @world")
    rows = []
    for _, row in table.iterrows():
        near = [with_interval(row, name) for name in NEAR if name in table]
        distances = [f"{row[q]:.3f}" for q in ("q01", "q10", "q50")]
        rows.append([row["space"], row["faces"], row["n"], *distances, *near])
    header = ["space", "faces", "N", "1 %", "10 %", "median"]
    header += [title for name, title in NEAR.items() if name in table]
    return markdown(header, rows, text=2)


def others_table(results, world):
    """What a classifier with a fifth group, "Others", says of real and of generated faces."""
    table = pd.read_csv(results / "others.csv")
    rows = []
    for kind, part in table.groupby("faces", sort=False):
        named = [with_interval(row, "named") for _, row in part.iterrows()]
        rows.append([kind, part["n"].iloc[0], *named])
    real = table.dropna(subset=["recall"])
    recalls = ["*recall on these photographs*", real["n"].iloc[0]]
    rows.insert(1, [*recalls, *(f"{value:.3f}" for value in real["recall"])])
    rows.insert(0, ["*label of these photographs*", "", *(f"{v:.3f}" for v in real["true"])])
    return markdown(["faces", "N", *real["group"]], rows)


def coverage_table(results, worlds):
    """How often the intervals of FD held it: the mean over settings, and the worst of them."""
    table = pd.read_csv(results / "coverage.csv")
    rows = []
    for corrected, name in ((0, "of labels as they are"), (1, "corrected, errors estimated")):
        for fd, part in table[table["corrected"] == corrected].groupby("fd"):
            worst = part.loc[part["coverage"].idxmin()]
            where = f"{worst['coverage']:.3f} ({worst['n_groups']:.0f} groups,"
            where += f" N = {worst['n']:.0f})"
            numbers = [f"{fd:.2f}", len(part), f"{part['coverage'].mean():.3f}", where]
            low = f"{(part['coverage'] < 0.935).mean():.2f}"
            rows.append([name, *numbers, low, f"{part['width'].mean():.3f}"])
    header = ["interval", "FD", "settings", "mean coverage", "lowest"]
    header += ["settings below .935", "mean width"]
    n, most = table["replicates"].min(), table["replicates"].max()
    error = (0.95 * 0.05 / n) ** 0.5
    note = f"\n{n} replicates of each setting: the standard error of one setting's coverage is"
    note += f" {error:.3f}, so a few of many lie low by chance."
    if most > n:
        note += f" Those below .935 were simulated again, {most} times; these are the new numbers."
    return markdown(header, rows) + f"{note}\n"


def strangers_table(results, world):
    """A stranger's crowds: how even to each judge, how near to photographs, who is still whom."""
    table = pd.read_csv(results / "strangers.csv").fillna({"strength": 0})
    table = table[table["faces"].isin(CROWDS)]
    rows = []
    for (faces, psi, strength), part in table.groupby(["faces", "psi", "strength"], sort=False):
        fd = part.query("measure == 'fd'")
        told = [f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})" for row in fd.itertuples()]
        black = part.query("group == 'Black' and measure == 'share'")["value"]
        alike = part.query("measure == 'one person'").itertuples()
        alike = [f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f})" for row in alike] or [""]
        frechet = part.query("measure == 'frechet'")["value"].item()
        crowd = CROWDS[faces].format(psi=psi, strength=strength)
        share = f"{black.min():.3f} to {black.max():.3f}"
        rows.append([crowd, *told, share, *alike, f"{frechet:.3f}"])
    header = ["faces", *("FD, " + fd["judge"]), "read as Black", "one person", "Frechet"]
    note = f"\nN = {fd['n'].iloc[0]}, one seed; FD over gender x race, not corrected; floor"
    floor = table.loc[table["measure"] == "floor", "value"].max()
    note += f" {floor:.3f}. Read as Black: by these"
    note += " judges. One person: of the faces that moved. Frechet: of the embedding.\n"
    return markdown(header, rows) + note
