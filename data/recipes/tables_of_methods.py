"""Tables of pages: what has been measured of every method's faces."""

import pandas as pd
from tables import JUDGES, METHODS, OURS, markdown, with_interval

# what a lecture of an hour has room for
LECTURE = (
    *("plain", "uniform", "localized_pilot", "overshoot", "guided", "guided_pilot"),
    *("rejection", "guidance"),
)


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
    of_groups = table["sharpness_over_plain"].notna().all()
    if not of_groups:  # measured before like was compared with like
        over_plain = table["sharpness"] / table.query("method == 'plain'")["sharpness"].mean()
        table = table.assign(sharpness_over_plain=over_plain)
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
        row += [f"{of_method['sharpness_over_plain'].mean():.2f}"]
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
    note += f"{groups['n'].min()} faces of each. Sharpness: over that of "
    note += "plain faces of the same groups." if of_groups else "all plain faces."
    note += " Calls: of the U-Net; classifier guidance adds as many passes through decoder"
    note += " and classifier and back.\n"
    return markdown(header, rows).replace("nan", "n/a") + note


def lecture_table(results, world):
    """The methods a lecture names, by three judges and beside their floors."""
    judges = pd.read_csv(results / "judges.csv").query("world == @world and method != 'real'")
    joint = max(judges["attribute"], key=lambda attribute: attribute.count(","))
    embedding = pd.read_csv(results / "embedding.csv").query("world == @world")
    asked = pd.concat([judges, embedding.assign(judge="embedding")]).query("attribute == @joint")
    asked = asked.groupby(["method", "judge"])[["fd_corrected", "fd_floor95", "n"]].mean()
    calls = pd.read_csv(results / "fairness.csv").query("world == @world")
    calls = calls.groupby("method")["nfe"].mean()
    names = {"first": "first network", "second": "second network", "embedding": "face embedding"}
    rows = []
    for method in [m for m in LECTURE if m in calls.index]:
        of_judges = asked["fd_corrected"][method].reindex(list(names))
        told = ["" if pd.isna(fd) else f"{fd:.2f}" for fd in of_judges]
        rows.append([METHODS[method], *told, f"{calls[method]:.0f}"])
    floors = [asked["fd_floor95"]["plain", judge] for judge in names]
    rows.append(["*noise floor*", *(f"{floor:.2f}" for floor in floors), ""])
    n = ", ".join(f"{name} {asked['n']['plain', judge]:,.0f}" for judge, name in names.items())
    note = f"\nCorrected FD of {joint.replace(',', ' x ')} from even. N of plain faces: {n}"
    return markdown(["method", *names.values(), "calls per face"], rows) + f"{note}.\n"


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
            values = [with_interval(part.loc[a]) if a in part.index else "" for a in attributes]
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
            same = with_interval(mean, "same")
            nearest = "" if pd.isna(mean["nearest"]) else f"{mean['nearest']:.3f}"
            name = "held-out faces" if method == "real" else METHODS[method]
            n = int(of_pair["n"].sum())
            rows.append([name, pair, n, f"{mean['distance']:.3f}", same, nearest])
    header = ["faces", "pair", "N", "distance", "nearer than .6", "nearest of all plain faces"]
    return text + markdown(header, rows, text=2)


def differences_table(results, world):
    """FD of one method less that of another, by both networks, with intervals."""
    table = pd.read_csv(results / "differences.csv").query("world == @world")
    attributes = sorted(set(table["attribute"]), key=lambda a: (-a.count(","), a))
    rows = []
    for (method, other, judge), part in table.groupby(["method", "other", "judge"], sort=False):
        found = part.set_index("attribute")
        told = []
        for attribute in attributes:
            values = found.loc[attribute, ["difference", "low", "high"]]
            told.append("{difference:+.3f} ({low:+.3f} to {high:+.3f})".format(**values))
        rows.append([METHODS[method], METHODS[other], judge, *told])
    names = list(METHODS.values())
    rows.sort(key=lambda row: (names.index(row[0]), names.index(row[1]), row[2]))
    header = ["method", "less", "judge", *(f"FD {a.replace(',', ' x ')}" for a in attributes)]
    note = f"\nN = {table['n'].min()} pairs, all seeds together, with 95 % intervals; below 0: the"
    note += " first is more even.\n"
    return markdown(header, rows, text=3) + note
