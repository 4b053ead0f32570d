"""What the course finds, in sentences whose numbers come from data/results/."""

import json

import pandas as pd


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
            f" photographs'.{who_loses(results, 'utkface', 'guided')}"
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


def who_loses(results, world, method):
    """Groups whose faces surely end further from real ones of their group, in a sentence."""
    table = pd.read_csv(results / "group_changes.csv")
    table = table.query("world == @world and method == @method")
    worse = table[table["change_low"] > 0].sort_values("change", ascending=False)
    if worse.empty:
        return ""
    told = [f"{row.group} {row.ffd_plain:.1f} to {row.ffd:.1f}" for row in worse.itertuples()]
    return (
        f" Of {len(table)} groups, {len(worse)} end further from real faces of their own (Frechet"
        f" distance in the classifier's features: {', '.join(told)})."
    )


def went(before, after, digits=3):
    """How a number changed, in words."""
    verb = "falls" if after < before else "rises"
    return f"{verb} from {before:.{digits}f} to {after:.{digits}f}"


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
