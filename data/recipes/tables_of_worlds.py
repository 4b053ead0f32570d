"""Tables of pages: how a world was trained, and how long things take."""

import json

import pandas as pd
from tables import markdown

SHOWN = ("smiling", "glasses", "blond")  # of CelebA's labels, those that something is learnt from


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


def labels_table(results, world):
    """What goes with what in a world's labels, and how few are left to judge some cells by."""
    table = pd.read_csv(results / "labels.csv").query("world == @world and group in @SHOWN")
    (judged,) = set(table["split"]) - {"train"}
    rows = []
    for cell, of_cell in table.groupby("cell"):
        row = [cell]
        for split in ("train", judged):
            of_split = of_cell[of_cell["split"] == split].set_index("group")
            row.append(f"{of_split['of'].iloc[0]:,}")
            for group in SHOWN:
                n, of = of_split.loc[group, ["n", "of"]]
                row.append(f"{100 * n / of:.0f} %" if split == "train" else n)
        rows.append(row)
    header = ["group", "training faces", *SHOWN, f"{judged} faces", *SHOWN]
    return markdown(header, rows)


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


def newcomer_table(results, machine):
    """A newcomer's way from clone to demo, in seconds."""
    table, cores = _waits(results / "newcomer.csv")
    note = f"\nOn {cores} CPU cores, once, in an empty folder and environment, packages"
    note += " from a local mirror"
    return f"{table}{note}: downloading takes longer than that.\n"


def dashboard_table(results, machine):
    """A lecturer's way from `make dashboard` to a sheet of pairs, in seconds."""
    table, cores = _waits(results / "dashboard.csv")
    return f"{table}\nOn {cores} CPU cores, once, after the set-up, with the heads.\n"


def _waits(path):
    """Seconds of every step and since the beginning as a table, and how many cores there were."""
    table = pd.read_csv(path)
    rows = [
        [row.step, f"{row.seconds:.0f}", f"{row.seconds_so_far:.0f}"] for row in table.itertuples()
    ]
    return markdown(["step", "seconds", "since the beginning"], rows), table["cores"][0]
