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
        if of_method.empty:
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
    floors = table.groupby("attribute")["fd_floor95"].mean()
    floor = [f"{floors[attribute]:.3f}" for attribute in (joint, *singles)]
    floor[1:1] = [f"{others['fd_floor95'][judge].iloc[0]:.3f}" for judge in names]
    rows.append(["*noise floor, 95th percentile*", *floor, "", "", "", ""])
    n, seeds = table["n"].min(), table["seed"].nunique()
    note = f"\nMean over {seeds} seeds (lowest to highest), N = {n} judged faces each; one fit and"
    counted = " and ".join(f"{others['n'][judge].min():.0f}" for judge in names)
    note += f" one pilot serve all seeds. Other judges: N at least {counted}. By group: "
    note += f"{groups['n'].min()} faces of each. Detail: over plain sampling's. Calls: of the"
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


def course_table(results, folder):
    """Every notebook's title, minutes and question, as its first cell gives them."""
    rows = []
    for path in sorted((results.parents[1] / folder).glob("[0-9]*.ipynb")):
        opening = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        title = opening.splitlines()[0].removeprefix("# ")
        minutes = opening.split("**Time** ")[1].split()[0]
        question = opening.split("**The question.** ")[1].split("\n\n")[0]
        rows.append([f"[{title}]({folder}/{path.name})", " ".join(question.split()), minutes])
    return markdown(["notebook", "the question", "minutes"], rows, text=2)


TABLES = {
    "course": course_table,
    "methods": methods_table,
    "speed": speed_table,
    "ablations": ablations_table,
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
