"""Write the result tables into README.md and the cards, from data/results/ alone.

Each table lives between two comments, ``<!-- table NAME -->`` and ``<!-- end -->``; everything
between them is replaced. With --check nothing is written, and the exit status is 1 when a page
says something else than the results do.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import pandas as pd
from scipy import stats

from fairgen_utils._files import write_whole

METHODS = {
    "plain": "plain sampling",
    "rejection": "rejection sampling with the classifier",
    "uniform": "(a) components uniform, the published recipe",
    "table": "(b) weights fitted to the table of training latents",
    "pilot": "(c) weights fitted to a pilot of generated faces",
    "localized": "(d) one Gaussian per attribute cell, uniform",
    "localized_pilot": "(d) the same, weights fitted to a pilot",
    "overshoot": "(e) the same, means moved outward first",
    "goals": "(f) as (e), cells by age as well, even age a second goal",
    "guided": "guidance by the mixture",
    "guided_pilot": "the same, quotas trimmed by a pilot",
    "guided_goals": "the same, to cells by age as well",
    "kmeans": "K-means clusters for components, weights as in (c)",
    "clean": "a mixture per cell in clean latent space, decoded as it is",
    "inverted": "one Gaussian per cell over latents inverted to pure noise",
    "on_the_fly": "a pool of four times as many, thinned half-way",
    "bottleneck": "distribution guidance on the bottleneck",
    "guidance": "classifier guidance on the predicted image",
}
# the methods whose groups and judges a card goes into
OURS = ("plain", "localized_pilot", "overshoot", "goals", "guided", "guided_pilot", "guided_goals")
JUDGES = ("first", "second", "probe", "public")
DOWNSTREAM = {
    "weights": "groups weighted alike, no generator",
    "plain": "plain faces added",
    "fair": "fair faces added, method (e)",
    "guided": "guided faces added",
    "more_real": "as many more real faces added",
}
BLOCK = re.compile(r"(<!-- table (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(header, rows, text=1):
    """A Markdown table; the first `text` columns are words, the others numbers."""
    lines = [header, ["---"] * text + ["---:"] * (len(header) - text), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def methods_table(results, world):
    """A row per method: discrepancy under both judges, quality over all and by group, and cost."""
    table = pd.read_csv(results / "fairness.csv").query("world == @world")
    judges = pd.read_csv(results / "judges.csv").query("world == @world and method != 'real'")
    groups = pd.read_csv(results / "groups.csv").query("world == @world")
    by_group = groups.groupby("method")["ffd"].agg(["mean", "max"])
    joint = max(judges["attribute"], key=lambda attribute: attribute.count(","))
    singles = sorted(a for a in set(table["attribute"]) if "," not in a)
    others = judges.query("attribute == @joint").pivot(
        index="method", columns="judge", values=["fd_corrected", "fd_floor95", "n"]
    )
    names = {"second": "by the second network", "probe": "by linear probes"}
    names = {judge: name for judge, name in names.items() if judge in others["n"]}
    header = ["method", f"FD {joint.replace(',', ' x ')}", *names.values()]
    header += [f"FD {name}" for name in singles]
    header += ["Frechet distance", "by group: mean (worst)", "sharpness", "calls per face kept"]
    plain_sharpness = table.query("method == 'plain'")["sharpness"].mean()
    rows = []
    for method, name in METHODS.items():
        of_method = table[table["method"] == method]
        # the files are filled one after the other: a method stands here once all of them know it
        if of_method.empty or method not in others.index or method not in by_group.index:
            continue
        values = of_method.set_index("attribute")["fd_corrected"].groupby("attribute")
        low, mean, high = values.min()[joint], values.mean(), values.max()[joint]
        seeds = of_method["seed"].nunique()
        spread = f" ({low:.3f} to {high:.3f})" if seeds > 1 else " (one seed)"
        row = [name, f"{mean[joint]:.3f}{spread}"]
        row += [f"{others.loc[method, ('fd_corrected', judge)]:.3f}" for judge in names]
        row += [f"{mean[single]:.3f}" for single in singles]
        row += [f"{of_method['ffd'].mean():.2f}"]
        row += ["{mean:.1f} ({max:.1f})".format(**by_group.loc[method])]
        row += [f"{of_method['sharpness'].mean() / plain_sharpness:.2f}"]
        rows.append([*row, f"{of_method['nfe'].mean():.1f}"])
    # cells by quotas leave chance less to decide
    for method, name in (("plain", "noise floor"), ("guided", "noise floor of guided faces")):
        if method in others.index:
            floors = table[table["method"] == method].groupby("attribute")["fd_floor95"].mean()
            floor = [f"{floors[attribute]:.3f}" for attribute in (joint, *singles)]
            floor[1:1] = [f"{others.loc[method, ('fd_floor95', judge)]:.3f}" for judge in names]
            rows.append([f"*{name}, 95th percentile*", *floor, "", "", "", ""])
    n, seeds = table["n"].min(), table["seed"].nunique()
    note = f"\nMean over {seeds} seeds (lowest to highest), N = {n} judged faces each; one fit and"
    counted = " and ".join(f"{others['n'][judge].min():.0f}" for judge in names)
    note += f" one pilot serve all seeds. Other judges: N at least {counted}. By group: "
    note += f"{groups['n'].min()} faces of each. Sharpness: over plain sampling's. Calls: of the"
    note += " U-Net; classifier guidance adds as many passes through decoder and classifier and"
    note += " back.\n"
    return markdown(header, rows).replace("nan", "n/a") + note


def speed_table(results, worlds):
    """What bench.py measured, world by world."""
    table = pd.read_csv(results / "speed.csv")
    wide = table.pivot(index="what", columns="world", values="value")
    # faces a second, the fastest way first; then the comparisons; then what lies behind them
    faces = [what for what in wide.index if what.endswith("faces/s")]
    faces = wide.loc[faces].mean(axis=1).sort_values(ascending=False).index.to_list()
    compared = [what for what in wide.index if " over " in what]
    wide = wide.loc[[*faces, *compared, *wide.index.difference([*faces, *compared])]]
    rows = [[what, *(f"{value:.2f}" for value in row)] for what, row in wide.iterrows()]
    return markdown(["", *wide.columns], rows)


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
            fd = "{fd_corrected:.3f} ({fd_corrected_low:.3f} to {fd_corrected_high:.3f})"
            numbers = [fd.format(**row), f"{row['own_group']:.3f}", f"{row['ffd']:.2f}"]
            rows.append([world, names[what], row["setting"], *numbers])
    header = ["world", "what", "setting", "corrected joint FD", "end in their group"]
    floors = table.groupby("world")["fd_floor95"].mean()
    note = f"\nMethod (e), N = {table['n'].min()}, seed {table['seed'].min()}, weights from a pilot"
    note += f" of {table['pilot'].max()} faces. Noise floors: "
    note += ", ".join(f"{world} {floor:.3f}" for world, floor in floors.items()) + ".\n"
    return markdown([*header, "Frechet distance"], rows, text=3) + note


def downstream_table(results, worlds):
    """A classifier trained on real faces alone, and how each addition changes its errors."""
    table = pd.read_csv(results / "downstream.csv")
    measures = ("accuracy", "worst_group", "equalized_odds")
    rows = []
    for (world, task), part in table.groupby(["world", "task"], sort=False):
        wide = part.pivot(index="seed", columns="method", values=list(measures))
        alone = [f"{wide[measure]['alone'].mean():.3f}" for measure in measures]
        rows.append([world, task, "*real faces alone*", *alone])
        for method, name in DOWNSTREAM.items():
            if method not in set(part["method"]):
                continue
            changes = []
            for measure in measures:
                change = wide[measure][method] - wide[measure]["alone"]
                half = stats.t.ppf(0.975, len(change) - 1) * stats.sem(change)
                mean = change.mean()
                changes.append(f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})")
            rows.append([world, task, name, *changes])
    header = ["world", "task", "training", "accuracy", "accuracy of the worst group"]
    note = f"\nMean of {table['seed'].nunique()} seeds; changes are paired by seed, with 95 %"
    note += " intervals (Student's t). Every network sees the same number of batches.\n"
    return markdown([*header, "equalised-odds difference"], rows, text=3) + note


def overshoot_table(results, world):
    """How far outward: recognition, fairness, quality and variety at every factor."""
    table = pd.read_csv(results / "overshoot.csv").query("world == @world")
    rows = []
    for _, row in table.iterrows():
        fd = "{fd_corrected:.3f} ({fd_corrected_low:.3f} to {fd_corrected_high:.3f})".format(**row)
        quality = [f"{row['ffd']:.2f}", f"{row['within_group_variance']:.2f}"]
        rows.append([f"{row['overshoot']:.1f}", f"{row['own_group']:.3f}", fd, *quality])
    header = ["overshoot", "recognised as their group", "corrected FD", "Frechet distance"]
    header.append("variance within a gender, over real faces'")
    last = table.iloc[-1]
    note = f"\nN = {last['n']}, seed {last['seed']}, noise floor {last['fd_floor95']:.3f}. "
    note += f"Of real held-out faces {last['own_group_real']:.3f} are recognised as their group.\n"
    return markdown(header, rows) + note


def groups_table(results, world):
    """Frechet distance of every group to the reference faces of that group, method by method."""
    table = pd.read_csv(results / "groups.csv").query("world == @world")
    wide = table.pivot(index=["attribute", "group"], columns="method", values="ffd")
    wide = wide[[method for method in OURS if method in wide]]
    rows = [
        [": ".join(group), *(f"{value:.2f}" for value in row)] for group, row in wide.iterrows()
    ]
    header = ["group", *(METHODS[method] for method in wide)]
    return markdown(header, rows) + f"\nN = {table['n'].min()} faces of each group and method.\n"


def judges_table(results, world):
    """The same faces under two judges: corrected FD, and how often the two agree."""
    table = pd.read_csv(results / "judges.csv").query("world == @world")
    attributes = sorted(set(table["attribute"]), key=lambda a: (a.count(","), a))
    rows = []
    for method in [method for method in OURS if method in set(table["method"])]:
        for judge in JUDGES:
            part = table.query("method == @method and judge == @judge").set_index("attribute")
            if part.empty:
                continue
            values = [
                "{fd_corrected:.3f} ({fd_corrected_low:.3f} to {fd_corrected_high:.3f})".format(
                    **part.loc[attribute]
                )
                if attribute in part.index
                else ""
                for attribute in attributes
            ]
            rows.append([METHODS[method], judge, *values])
    header = ["method", "judge", *(f"FD {a.replace(',', ' x ')}" for a in attributes)]
    joint = table[table["attribute"] == attributes[-1]]
    agreement = joint.pivot(index="method", columns="judge", values="agreement")
    names = {m: n.split()[0] if n.startswith("(") else n for m, n in METHODS.items()}
    names = {"real": "held-out faces"} | {method: names[method] for method in OURS}
    said = []
    for judge in [judge for judge in ("second", "probe") if judge in agreement]:
        shares = [
            f"{names[m]} {agreement.loc[m, judge]:.3f}" for m in names if m in agreement.index
        ]
        said.append(f"{judge}: {', '.join(shares)}")
    counts = table[table["method"].isin(OURS)].groupby("judge")["n"].agg(["min", "max"])
    n = ", ".join(
        f"{'' if low == high else 'at least '}{low} ({judge})"
        for judge, (low, high) in counts.iterrows()
    )
    note = f"\nN = {n}, with 95 % intervals. How often each names the same group of "
    note += f"{attributes[-1].replace(',', ' x ')} as the first: {'; '.join(said)}. "
    right = table.query("method == 'real'").pivot(
        index="attribute", columns="judge", values="accuracy"
    )
    right = right.loc[[a for a in attributes if "," not in a]]
    judges = [judge for judge in JUDGES if judge in right]
    note += f"Right about held-out faces ({', '.join(judges)}): "
    note += "; ".join(
        f"{name} {', '.join(f'{row[j]:.3f}' if row[j] == row[j] else '-' for j in judges)}"
        for name, row in right.iterrows()
    )
    return markdown(header, rows, text=2) + f"{note}.\n"


def brightness_table(results, world):
    """Mean brightness of the middle of the face, group by group, real and generated."""
    table = pd.read_csv(results / "brightness.csv").query("world == @world")
    swept = sorted({method for method in table["method"] if method.startswith("overshoot ")})
    names = {"real": "held-out faces"} | METHODS
    names |= {method: f"(e) with factor {method.split()[1]}" for method in swept}
    rows = []
    for group, part in table.groupby("group", sort=False):
        found = part.set_index("method")
        real = "{brightness:.0f} ({deviation:.0f})".format(**found.loc["real"])
        others = [f"{found.loc[m, 'brightness']:.0f}" for m in names if m in found.index][1:]
        rows.append([group, real, *others])
    header = ["group", "held-out faces (standard deviation)"]
    header += [names[method] for method in list(names)[1:] if method in set(table["method"])]
    made = table.query("method != 'real'")
    widest = ((made["brightness_high"] - made["brightness_low"]) / 2).max()
    note = f"\nFrom 0 to 255; at least {made['n'].min()} faces of each group"
    note += f", every method's mean known to {widest:.1f} or better (95 %)"
    if swept:
        n = made[made["method"].isin(swept)].groupby("method")["n"].sum().min()
        note += f"; other factors: N = {n}, components even, no pilot"
    return markdown(header, rows) + note + ".\n"


def newcomer_table(results, machine):
    """A newcomer's way from clone to demo, in seconds."""
    table = pd.read_csv(results / "newcomer.csv")
    rows = [
        [row.step, f"{row.seconds:.0f}", f"{row.seconds_so_far:.0f}"] for row in table.itertuples()
    ]
    note = f"\nOn {table['cores'][0]} CPU cores, once, in an empty folder and environment, packages"
    note += " from a local mirror"
    header = ["step", "seconds", "since the beginning"]
    return markdown(header, rows) + f"{note}: downloading takes longer than that.\n"


def others_table(results, world):
    """What a classifier with a fifth group, "Others", says of real and of generated faces."""
    table = pd.read_csv(results / "others.csv")
    rows = []
    for kind, part in table.groupby("faces", sort=False):
        named = {
            row["group"]: f"{row['named']:.3f} ({row['named_low']:.3f} to {row['named_high']:.3f})"
            for _, row in part.iterrows()
        }
        rows.append([kind, part["n"].iloc[0], *named.values()])
    real = table.dropna(subset=["recall"])
    recalls = ["*recall on these photographs*", real["n"].iloc[0]]
    rows.insert(1, [*recalls, *(f"{value:.3f}" for value in real["recall"])])
    rows.insert(0, ["*label of these photographs*", "", *(f"{v:.3f}" for v in real["true"])])
    return markdown(["faces", "N", *real["group"]], rows)


def memorization_table(results, world):
    """Distances to the nearest training face, and how many come nearer than held-out faces do."""
    table = pd.read_csv(results / "memorization.csv").query("world == @world")
    rows = []
    for _, row in table.iterrows():
        near = f"{row['nearer']:.3f} ({row['nearer_low']:.3f} to {row['nearer_high']:.3f})"
        distances = [f"{row[q]:.3f}" for q in ("q01", "q10", "q50")]
        rows.append([row["space"], row["faces"], row["n"], *distances, near])
    header = ["space", "faces", "N", "1 %", "10 %", "median", "nearer than 1 % of held-out faces"]
    return markdown(header, rows, text=2)


def shares_table(results, world):
    """Every group's share of training, plain and evened faces, and plain's difference."""
    table = pd.read_csv(results / "shares.csv").query("world == @world")
    evened = "goals" if "goals" in set(table["method"]) else "overshoot"
    mean = table.groupby(["method", "attribute", "group"]).mean(numeric_only=True)
    plain = table.query("method == 'plain'")
    rows = []
    for (attribute, group), part in plain.groupby(["attribute", "group"], sort=False):
        if "," in attribute:
            continue
        row, fair = mean.loc[("plain", attribute, group)], mean.loc[(evened, attribute, group)]
        # the seeds are independent: the interval of their mean is narrower by their root
        half = (row["amplification_high"] - row["amplification_low"]) / 2 / len(part) ** 0.5
        change = row["amplification"]
        interval = f"{change:+.3f} ({change - half:+.3f} to {change + half:+.3f})"
        values = [f"{row['training']:.3f}", f"{row['share_corrected']:.3f}", interval]
        rows.append([f"{attribute}: {group}", *values, f"{fair['share_corrected']:.3f}"])
    header = ["group", "training faces", "plain samples", "difference (95 % interval)"]
    header.append("evened out")
    n = int(plain.groupby("seed")["n"].first().sum())
    note = f"\nN = {n} faces of each kind, corrected for the classifier's errors. "
    method = METHODS[evened].split()[0]
    return markdown(header, rows) + f"{note}Evened out: method {method} with pilot weights.\n"


def classifier_table(results, world):
    """Held-out accuracy, recall and calibration of every attribute."""
    report = json.loads((results / f"{world}_classifier.json").read_text())
    rows = []
    for attribute, scores in report.items():
        if attribute == "n":
            continue
        recall = ", ".join(f"{group} {value:.3f}" for group, value in scores["recall"].items())
        rows.append(
            [
                attribute,
                f"{scores['accuracy']:.3f}",
                f"{scores['balanced_accuracy']:.3f}",
                recall,
                f"{scores['calibration_error']:.3f}",
            ]
        )
    header = ["attribute", "accuracy", "balanced accuracy", "recall", "calibration error"]
    return markdown(header, rows) + f"\nN = {report['n']} held-out faces.\n"


def training_table(results, world):
    """The last line of each part's training log."""
    log = pd.read_csv(results / f"{world}_training.csv")
    last = log.sort_values("step").groupby("part").tail(1).set_index("part")
    psnr = f"{last.loc['autoencoder', 'heldout_psnr']:.2f} dB"
    rows = [
        [part, last.loc[part, "step"], f"{last.loc[part, 'loss']:.4f}", extra]
        for part, extra in (("autoencoder", psnr), ("diffusion", ""), ("classifier", ""))
    ]
    table = markdown(["part", "steps", "last loss", "held-out PSNR"], rows)
    if "frechet" not in log:
        return table
    curve = log.dropna(subset=["frechet"]).sort_values("step")
    lowest = curve.loc[curve["frechet"].idxmin()]
    course = ", ".join(f"{row['frechet']:.2f} at {row['step']}" for _, row in curve.iterrows())
    return table + (
        "\nFrechet distance of plain samples to held-out faces, as trained, by step: "
        f"{course}. Kept: step {lowest['step']}.\n"
    )


def went(before, after, digits=3):
    """How a number changed, in words."""
    verb = "falls" if after < before else "rises"
    return f"{verb} from {before:.{digits}f} to {after:.{digits}f}"


def findings_table(results, worlds):
    """What the course finds: a sentence or two each, of what has been measured."""
    fairness = pd.read_csv(results / "fairness.csv")
    judges = pd.read_csv(results / "judges.csv").query("method != 'real'")
    shares = pd.read_csv(results / "shares.csv")
    bright = pd.read_csv(results / "brightness.csv")
    joint = {"heads": "gender,ancestry,age", "utkface": "gender,race"}
    own = fairness[fairness["attribute"] == fairness["world"].map(joint)]
    own = own.groupby(["world", "method"])[["fd_corrected", "fd_floor95", "sharpness"]].mean()
    others = judges[judges["attribute"] == judges["world"].map(joint)]
    others = others.set_index(["world", "judge", "method"])["fd_corrected"]

    def fd(world, method):
        return own.loc[(world, method), "fd_corrected"]

    def chain(values):
        return f"FD from {values[0]:.3f} to " + ", then ".join(f"{v:.3f}" for v in values[1:])

    older = shares.query(
        "world == 'utkface' and method == 'plain' and attribute == 'age' and group == 'older'"
    )
    # the seeds are independent: the interval of their mean is narrower by their root
    half = (older["amplification_high"] - older["amplification_low"]).mean() / 2 / len(older) ** 0.5
    made, fewer = older["share_corrected"].mean(), -older["amplification"].mean()
    points = f"{100 * fewer:.1f} points fewer ({100 * (fewer - half):.1f} to"
    lines = [
        f"**Bias is amplified.** {100 * older['training'].iloc[0]:.1f} % of the photographs in"
        f" training show older people, {100 * made:.1f} % of generated faces do:"
        f" {points} {100 * (fewer + half):.1f}).",
        "**The published recipe does not even out these attributes.** FD of all 18 cells of the"
        f" heads {went(fd('heads', 'plain'), fd('heads', 'uniform'))}, that of gender x race on"
        f" photographs {went(fd('utkface', 'plain'), fd('utkface', 'uniform'))}: what a mixture"
        " finds without labels is background, light and hair.",
    ]
    africans = bright.query("world == 'heads' and group == 'african'").set_index("method")
    lines.append(
        "**Even shares can hide a caricature.** Started from Gaussians of each group, moved"
        f" outward, heads have FD {fd('heads', 'overshoot'):.3f} to their own classifier (noise"
        f" floor {own.loc[('heads', 'overshoot'), 'fd_floor95']:.3f}),"
        f" {others['heads', 'second', 'overshoot']:.3f} to a second network; and African heads"
        f" have a brightness of {africans.loc['overshoot', 'brightness']:.0f}, rendered ones"
        " {brightness:.0f} (standard deviation {deviation:.0f}).".format(**africans.loc["real"])
    )
    guided = ("plain", "guided", "guided_pilot")
    if all(("utkface", method) in own.index for method in guided):
        floor = own.loc[("utkface", "guided"), "fd_floor95"]
        sentence = "**Guided by the mixture, the same faces come out more even.** FD of gender x"
        sentence += " race on photographs, plain, guided, and with quotas trimmed by a pilot:"
        told = [("first network", [fd("utkface", method) for method in guided])]
        known = others["utkface"]
        if all(("second", method) in known.index for method in guided):
            told.append(("second network", [known["second", method] for method in guided]))
        if (values := embedding_fd(results, "utkface", joint["utkface"], guided)) is not None:
            told.append(("discriminants of a face embedding", values))
        sentence += ";".join(
            f" {', '.join(f'{value:.3f}' for value in values)} to the {name}"
            for name, values in told
        )
        sentence += f" (noise floor of the first: {floor:.3f})."
        ratio = own.loc[("utkface", "guided"), "sharpness"]
        ratio /= own.loc[("utkface", "plain"), "sharpness"]
        sentence += f" Sharpness is {ratio:.2f} of plain faces'"
        chosen = chosen_guidance(results, "utkface")
        sentence += f", a face changes by {chosen['change']:.0f} of 255 levels on average"
        away = brightness_away(bright, "utkface", "guided")
        if away is None:
            away = chosen["brightness_away"]
        lines.append(
            f"{sentence}; no group's brightness is more than {away:.1f} standard deviations from"
            " photographs'."
        )
    if all(("heads", method) in own.index for method in guided):
        chosen = chosen_guidance(results, "heads")
        real = real_recognition(results, "heads", joint["heads"])
        lines.append(
            "**A weak generator sets the limit.** On the heads guidance takes"
            f" {chain([fd('heads', method) for method in guided])} with a pilot;"
            f" {100 * chosen['recognition_second']:.0f} % of its faces are recognised as the cell"
            f" they were led to, of rendered heads {100 * real:.0f} % (by the second network)."
        )
    return "".join(f"- {line}\n" for line in lines)


def embedding_fd(results, world, joint, methods):
    """Mean discrepancy by the embedding's discriminants, method by method; None if unmeasured."""
    table = pd.read_csv(results / "embedding.csv").query("world == @world and attribute == @joint")
    if "fd_corrected" not in table or not set(methods) <= set(table["method"]):
        return None
    return table.groupby("method")["fd_corrected"].mean()[[*methods]].tolist()


def brightness_away(bright, world, method):
    """Distance of the worst group's brightness from real faces', in their standard deviations."""
    wide = bright[bright["world"] == world]
    if method not in set(wide["method"]):
        return None
    wide = wide.groupby(["group", "method"])[["brightness", "deviation"]].mean().unstack()
    away = wide[("brightness", method)] - wide[("brightness", "real")]
    return float((away / wide[("deviation", "real")]).abs().max())


def real_recognition(results, world, joint):
    """How often the second network is right about the cell of a held-out face."""
    table = pd.read_csv(results / "judges.csv")
    real = table.query(
        "world == @world and method == 'real' and judge == 'second' and attribute == @joint"
    )
    return float(real["accuracy"].iloc[0])


def chosen_guidance(results, world):
    """The row of guidance.csv with the strength and first step that world.json names."""
    record = json.loads((results.parent / world / "world.json").read_text(encoding="utf-8"))
    table = pd.read_csv(results / "guidance.csv").query("world == @world and what == 'choice'")
    chosen = table["strength"] == record["strength"]
    chosen &= table["first_guided_step"] == record["first_guided_step"]
    return table[chosen].iloc[0]


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
}


def guidance_table(results, world):
    """Strengths and first steps tried, the chosen one marked; then one thing changed at a time."""
    table = pd.read_csv(results / "guidance.csv").query("world == @world")
    chosen = chosen_guidance(results, world)["setting"]
    rows = []
    for what, name in CHANGED.items():
        part = table[table["what"] == what]
        if what == "choice":
            part = part.sort_values(["first_guided_step", "strength"])
        for _, row in part.iterrows():
            setting, change = str(row["setting"]), f"{row['change']:.1f}"
            if what == "choice" and setting == chosen:
                setting = f"**{setting}: chosen**"
            fd = "{fd_corrected:.3f} ({fd_corrected_low:.3f} to {fd_corrected_high:.3f})"
            known = [row["recognition_second"], row["recognition"]]
            numbers = [f"{value:.2f}" for value in (*known, row["brightness_away"])]
            numbers += [f"{row['sharpness']:.2f}", change, fd.format(**row)]
            numbers += [f"{row['fd_second']:.3f}", f"{row['ffd']:.1f}"]
            rows.append([name, setting, *numbers])
    header = ["what", "setting", "recognised by the second network", "by the first"]
    header += ["brightness away", "sharpness", "change", "corrected joint FD"]
    header += ["by the second network", "Frechet distance"]
    note = f"\nN = {table['n'].min()}, seed {table['seed'].min()}, no pilot; noise floor"
    note += f" {table['fd_floor95'].mean():.3f}. Brightness away: the worst group's, in standard"
    note += " deviations of real faces of that group. Sharpness: over plain faces'. Change: from"
    note += " the plain face of the same seed, of 255 levels.\n"
    return markdown(header, rows, text=2).replace("nan", "n/a") + note


def embedding_table(results, world):
    """What dlib's face embedding says: even, near to real faces, and still the same face?"""
    fairness = pd.read_csv(results / "embedding.csv").query("world == @world")
    pairs = pd.read_csv(results / "embedding_pairs.csv").query("world == @world")
    attributes = sorted(set(fairness["attribute"]), key=lambda a: (a.count(","), a))
    real = fairness.query("method == 'real'").set_index("attribute")
    rows, header = [], ["faces", *(f"FD {a.replace(',', ' x ')}" for a in attributes)]
    made = [method for method in METHODS if method in set(fairness["method"])]
    for method in made:
        part = fairness[fairness["method"] == method].groupby("attribute")
        values = part["fd_corrected"].agg(["mean", "min", "max"])
        seeds = part["seed"].nunique().max()
        spread = " ({min:.3f} to {max:.3f})" if seeds > 1 else ""
        told = [("{mean:.3f}" + spread).format(**values.loc[a]) for a in attributes]
        rows.append([METHODS[method], *told])
    if rows:
        plain = fairness[fairness["method"] == "plain"]
        floors = plain.groupby("attribute")["fd_floor95"].mean()
        rows.append(["*noise floor*", *(f"{floors[a]:.3f}" for a in attributes)])
    rows.append(
        ["*right about held-out faces*", *(f"{real.loc[a, 'accuracy']:.3f}" for a in attributes)]
    )
    text = markdown(header, rows) + "\n"
    rows = []
    for method in ("real", *made):
        part = pairs[pairs["method"] == method]
        for pair, of_pair in part.groupby("pair", sort=False):
            mean = of_pair.mean(numeric_only=True)
            same = f"{mean['same']:.3f} ({mean['same_low']:.3f} to {mean['same_high']:.3f})"
            nearest = "" if pd.isna(mean["nearest"]) else f"{mean['nearest']:.3f}"
            name = "held-out faces" if method == "real" else METHODS[method]
            n = int(of_pair["n"].sum())
            rows.append([name, pair, n, f"{mean['distance']:.3f}", same, nearest])
    header = ["faces", "pair", "N", "distance", "nearer than .6", "nearest of all plain faces"]
    return text + markdown(header, rows, text=2)


TABLES = {
    "findings": findings_table,
    "methods": methods_table,
    "speed": speed_table,
    "ablations": ablations_table,
    "guidance": guidance_table,
    "embedding": embedding_table,
    "downstream": downstream_table,
    "overshoot": overshoot_table,
    "groups": groups_table,
    "judges": judges_table,
    "newcomer": newcomer_table,
    "others": others_table,
    "shares": shares_table,
    "classifier": classifier_table,
    "training": training_table,
    "memorization": memorization_table,
    "brightness": brightness_table,
}


def rewrite(text, results):
    """The page with every table block made anew."""
    return BLOCK.sub(lambda m: m[1] + TABLES[m[2]](results, m[3]) + m[4], text)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing, only compare")
    options = arguments.parse_args()
    root = Path(__file__).resolve().parents[2]
    stale = []
    for page in [root / "README.md", *sorted(root.glob("data/*/README.md"))]:
        text = page.read_text(encoding="utf-8")
        fresh = rewrite(text, root / "data" / "results")
        if fresh != text:
            stale.append(page.relative_to(root))
            if not options.check:
                write_whole(page, fresh)
    if stale:
        print("differs from data/results:" if options.check else "rewritten:", *stale)
    sys.exit(bool(options.check and stale))


if __name__ == "__main__":
    main()
