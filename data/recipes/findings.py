"""What the course finds: three sentences and a table whose numbers come from data/results/."""

import json

import pandas as pd
from tables import markdown

WORLDS = {"utkface": "UTKFace", "celeba": "CelebA", "heads": "heads"}
JOINT = {"utkface": "gender,race", "celeba": "gender,age", "heads": "gender,ancestry,age"}
METHODS = {"plain": "plain", "guided": "guided", "guided_pilot": "with a pilot"}
JUDGES = {
    "first": "first network",
    "second": "second network",
    "embedding": "face embedding",
}
PEOPLE = {
    **{"female": "women", "male": "men"},
    **{"young": "young people", "middle": "people of middle age", "older": "older people"},
}


def findings_table(results, worlds):
    """What the course finds: three sentences, then FD by three judges; of what was measured."""
    judged = by_judges(results)
    lines = [rarer(results)]
    if all((world, "first", "guided") in judged.index for world in ("utkface", "heads")):
        lines += [left_of_plain(judged), who_pays(results, judged)]
    return "".join(f"- {line}\n" for line in lines) + f"\n{judges_said(judged)}"


def by_judges(results):
    """Joint FD and its noise floor, by world, judge and method.

    Of all seeds' faces together; by the embedding, which was asked seed by seed, a mean.
    """
    judges = pd.read_csv(results / "judges.csv")
    embedding = pd.read_csv(results / "embedding.csv").assign(judge="embedding")
    table = pd.concat([judges[judges["judge"].isin(JUDGES)], embedding])
    table = table[(table["attribute"] == table["world"].map(JOINT)) & (table["method"] != "real")]
    columns = ["fd_corrected", "fd_floor95", "n"]
    return table.groupby(["world", "judge", "method"])[columns].mean().dropna()


def measured(judged):
    """The worlds of which something is known, in the order of pages."""
    return [world for world in WORLDS if world in judged.index.get_level_values("world")]


def listed(words):
    """Words as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def rarer(results):
    """The first finding: plain sampling's shares beside those of training."""
    table = pd.read_csv(results / "shares.csv").query("method == 'plain'")
    table = table[table["world"].isin(WORLDS) & ~table["attribute"].str.contains(",")]
    groups = table.groupby(["world", "attribute", "group"])
    mean = groups.mean(numeric_only=True)
    # the seeds are independent: the interval of their mean is narrower by their root
    half = (mean["amplification_high"] - mean["amplification_low"]) / 2 / groups.size() ** 0.5
    fewer = int((mean["amplification"] + half < 0).sum())
    ratio = mean.loc["utkface", "share_corrected"] / mean.loc["utkface", "training"]
    found, half = mean.loc["utkface"].loc[ratio.idxmin()], half.loc["utkface"].loc[ratio.idxmin()]
    group = ratio.idxmin()[1]
    made = found["share_corrected"]
    return (
        "**Some groups become rarer than in the data.** Of the photographs that one generator"
        f" learned from, {100 * found['training']:.1f} % show"
        f" {PEOPLE.get(group, f'{group} people')}; of its faces, {100 * found['share']:.1f} % by"
        f" the classifier's count, {100 * made:.1f} % ({100 * (made - half):.1f} to"
        f" {100 * (made + half):.1f}) once its known errors are corrected. Of {len(mean)}"
        f" groups in all generators, {fewer} surely become rarer."
    )


def left_of_plain(judged):
    """The second finding: what the recipe and guidance leave of plain sampling's FD."""
    fd = judged["fd_corrected"]
    recipe, guided = [], []
    for world in measured(judged):
        name, known = WORLDS[world], fd[world].unstack("method")
        left = known["guided"] / known["plain"]
        of_recipe = known["uniform"]["first"] / known["plain"]["first"]
        recipe.append(f"{100 * of_recipe:.0f} % on {name}")
        guided.append(f"{100 * left.min():.0f} to {100 * left.max():.0f} % on {name}")
    return (
        "**Guided faces are more even; how even, depends on who judges.** Of plain sampling's"
        " distance to even shares, guidance by a mixture leaves, to three judges,"
        f" {listed(guided)}; the published recipe, to the first network, {listed(recipe)}."
    )


def who_pays(results, judged):
    """The third finding: what shares do not show."""
    bright = pd.read_csv(results / "brightness.csv")
    bright = bright.query("world == 'heads' and group == 'african'")
    bright = bright.groupby("method")["brightness"].mean()
    table = pd.read_csv(results / "group_changes.csv")
    table = table[(table["method"] == "guided") & (table["world"] != "heads")]
    worse = table[table["change_low"] > 0].sort_values("change", ascending=False)
    named = [f"{row.group}, {WORLDS[row.world]}" for row in worse.itertuples()]
    named = f" ({'; '.join(named)})" if named else ""
    read = chosen_guidance(results, "heads")["recognition_second"]
    real = real_recognition(results, "heads", JOINT["heads"])
    fd = judged["fd_corrected"]["heads", "first"]
    return (
        "**Even shares do not make good faces.** Gaussians of each group, moved outward, leave"
        f" {100 * fd['overshoot'] / fd['plain']:.0f} % of that on heads; but their African heads"
        f" have a brightness of {bright['overshoot']:.0f}, rendered ones {bright['real']:.0f}."
        f" Guided, {len(worse)} of {len(table)} groups{named} end further from their own"
        " photographs."
        f" A second network recognises {100 * read:.0f} % of guided heads as the group they were"
        f" led to, {100 * real:.0f} % of rendered ones."
    )


def judges_said(judged):
    """FD of plain and guided faces by every judge that was asked, each beside its floor."""
    fd, floor = judged["fd_corrected"].unstack("method"), judged["fd_floor95"].unstack("method")
    known = [method for method in METHODS if method in fd]
    header = ["FD, judged by", *(METHODS[method] for method in known), "noise floor"]
    rows = []
    for world in measured(judged):
        for judge, who in JUDGES.items():
            if (world, judge) in fd.index and fd.loc[(world, judge), known].notna().all():
                values = [*fd.loc[(world, judge), known], floor.loc[(world, judge), known].max()]
                rows.append([f"{WORLDS[world]}: {who}", *(f"{value:.2f}" for value in values)])
    faces = judged["n"].unstack("method")[known].min(axis=1).groupby("judge").agg(["min", "max"])
    shown = [
        f"{JUDGES[judge]} {least:,.0f}{' or more' if most > least else ''}"
        for judge, (least, most) in faces.reindex(list(JUDGES)).dropna().T.items()
    ]
    return f"{markdown(header, rows)}\nN: {', '.join(shown)}.\n"


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
