"""Tables and sentences of pages say what the results say, each number with its N and interval."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "data" / "recipes"


@pytest.fixture(autouse=True)
def recipes_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))


def lines_of(table):
    """Cells of a Markdown table, line by line, the header first and its rule left out."""
    lines = [line for line in table.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_tables_of_the_pages_say_what_the_results_say():
    command = [sys.executable, RECIPES / "write_tables.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_page_that_says_something_else_is_found_and_rewritten(tmp_path):
    recipes = tmp_path / "data" / "recipes"
    shutil.copytree(RECIPES, recipes, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "data" / "results").mkdir()
    pd.DataFrame({"step": ["clone"], "seconds": 7, "seconds_so_far": 7, "cores": 2}).to_csv(
        tmp_path / "data" / "results" / "newcomer.csv"
    )
    page = tmp_path / "README.md"
    block = "<!-- table newcomer machine -->\n| clone | 6 | 6 |\n<!-- end -->"
    page.write_text(f"before\n{block}\nafter\n")

    def run(*options):
        command = [sys.executable, recipes / "write_tables.py", *options]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    stale = run("--check")
    assert stale.returncode == 1 and "README.md" in stale.stdout
    assert "| clone | 6 | 6 |" in page.read_text()
    run()
    assert "| clone | 7 | 7 |" in page.read_text() and page.read_text().endswith("after\n")
    assert run("--check").returncode == 0


def test_the_memorization_table_gives_every_number_its_n_and_interval(tmp_path):
    from write_tables import memorization_table

    row = "tiny,pixels,generated,2000,0,900,0.01,0.02,0.03,0.012,0.008,0.018"
    head = "world,space,faces,n,seed,training,q01,q10,q50,nearer,nearer_low,nearer_high"
    (tmp_path / "memorization.csv").write_text(f"{head}\n{row}\n")
    table = memorization_table(tmp_path, "tiny")
    assert "2000" in table and "0.012 (0.008 to 0.018)" in table


# Made-up results, every number another one, so that none is mistaken for its neighbour


JOINT = {"heads": "gender,ancestry,age", "utkface": "gender,race"}
FD = {"plain": 0.4, "uniform": 0.45, "overshoot": 0.05, "guided": 0.1, "guided_pilot": 0.03}


def write(folder, name, rows):
    pd.DataFrame(rows).to_csv(folder / name, index=False)


@pytest.fixture
def results(tmp_path):
    """A folder of results that tables can be made from; the heads' FD is half the photographs'."""
    folder = tmp_path / "results"
    folder.mkdir()
    for world, step in (("heads", 1), ("utkface", 3)):
        (tmp_path / world).mkdir()
        record = {"strength": 6.0, "first_guided_step": step}
        (tmp_path / world / "world.json").write_text(json.dumps(record))
    fairness, judges = [], []
    for world, joint in JOINT.items():
        for method, fd in FD.items():
            fd = fd / 2 if world == "heads" else fd
            which = {"world": world, "method": method, "attribute": joint}
            sharp = 0.009 if method.startswith("guided") else 0.01
            for seed in (0, 1):  # a mean of fd over seeds
                off = 0.01 * (1 if seed else -1)
                row = {"seed": seed, "fd_corrected": fd + off, "fd_floor95": 0.017, "nfe": 15.0}
                fairness.append(which | row | {"sharpness": sharp})
            row = {"judge": "first", "fd_corrected": fd, "fd_floor95": 0.017, "n": 6000}
            judges.append(which | row)
            row = {"judge": "second", "fd_corrected": fd + 0.002, "fd_floor95": 0.027, "n": 6000}
            judges.append(which | row | {"accuracy": None})
        real = {"world": world, "method": "real", "attribute": joint, "judge": "second"}
        judges.append(real | {"accuracy": 0.93})
    write(folder, "fairness.csv", fairness)
    write(folder, "judges.csv", judges)
    older = {"world": "utkface", "method": "plain", "attribute": "age", "group": "older"}
    older |= {"training": 0.145, "share": 0.106, "share_corrected": 0.045, "amplification": -0.1}
    older |= {"amplification_low": -0.12, "amplification_high": -0.08}
    # one that becomes rarer by no more than chance explains
    asian = older | {"attribute": "race", "group": "Asian", "share_corrected": 0.14}
    asian |= {"amplification": -0.005, "amplification_low": -0.025, "amplification_high": 0.015}
    rows = [row | {"seed": seed} for row in (older, asian) for seed in range(4)]
    write(folder, "shares.csv", rows)
    bright = [
        ("heads", "real", "african", 100.0, 12.0),
        ("heads", "overshoot", "african", 79.0, 9.0),
        ("utkface", "real", "Asian", 150.0, 30.0),
        ("utkface", "guided", "Asian", 141.0, 20.0),  # .3 deviations of real faces
        ("utkface", "real", "Black", 118.0, 20.0),
        ("utkface", "guided", "Black", 120.0, 20.0),
    ]
    changes = [("White", 1.5, 3.5, 1.0), ("Asian", 7.0, 4.0, -4.5), ("older", 16.0, 17.0, -0.2)]
    names = ("group", "ffd_plain", "ffd", "change_low")
    which = {"world": "utkface", "method": "guided"}
    changes = [which | dict(zip(names, row, strict=True)) for row in changes]
    changes = [row | {"change": row["ffd"] - row["ffd_plain"]} for row in changes]
    write(folder, "group_changes.csv", changes)
    names = ("world", "method", "group", "brightness", "deviation")
    write(folder, "brightness.csv", [dict(zip(names, row, strict=True)) for row in bright])
    embedding = [
        {
            **{"world": "utkface", "method": method, "attribute": "gender,race", "seed": seed},
            **{"fd_corrected": FD[method] + 0.05 + 0.01 * seed, "fd_floor95": 0.04, "n": 2000},
        }
        for method in ("plain", "guided", "guided_pilot")
        for seed in (0, 1)
    ]
    real = {"world": "utkface", "method": "real", "attribute": "gender,race", "accuracy": 0.89}
    write(folder, "embedding.csv", [*embedding, real])
    pairs = [
        ("real", "strangers", 100, 0.8, 0.02, None),
        ("guided", "same seed", 60, 0.22, 0.99, 0.97),
        ("guided", "same seed", 40, 0.24, 0.97, 0.95),
    ]
    names = ("method", "pair", "n", "distance", "same", "nearest")
    rows = [{"world": "utkface", **dict(zip(names, row, strict=True))} for row in pairs]
    ends = [{"same_low": row["same"] - 0.01, "same_high": row["same"] + 0.01} for row in rows]
    both = zip(rows, ends, strict=True)
    write(folder, "embedding_pairs.csv", [row | more for row, more in both])
    guidance = []
    for world, step in (("heads", 1), ("utkface", 3)):
        for what, setting, strength, change in (
            ("choice", f"6 from step {step}", 6.0, 7.0),
            ("choice", f"12 from step {step}", 12.0, 11.0),
            ("labels", "1000", 6.0, 5.0),
            ("labels", "50", 6.0, 4.0),
            ("assignment", "random", 6.0, 9.0),
        ):
            row = {"world": world, "what": what, "setting": setting, "n": 384, "seed": 110000}
            row |= {"strength": strength, "first_guided_step": step, "change": change}
            row |= {"recognition": 0.87, "recognition_second": 0.49, "brightness_away": 0.2}
            row |= {"sharpness": 1.06, "fd_corrected": 0.07, "fd_corrected_low": 0.05}
            row |= {"fd_corrected_high": 0.13, "fd_floor95": 0.08, "fd_second": 0.06, "ffd": 4.0}
            guidance.append(row)
    write(folder, "guidance.csv", guidance)
    return folder


def test_findings_say_what_was_measured(results):
    from findings import findings_table

    table = findings_table(results, "all")
    found = [line for line in table.splitlines() if line.startswith("- ")]
    assert len(found) == 3
    # seeds are independent: +- 2 points each, +- 1 for four
    assert "14.5 % show older people; of its faces, 10.6 % by the classifier" in found[0]
    assert "4.5 % (3.5 to 5.5) once its known errors" in found[0]
    assert "Of 2 groups in all generators, 1 surely become rarer" in found[0]
    # guided over plain, by the networks and by the embedding
    assert "leaves, to three judges, 25 to 34 % on UTKFace and 25 to 26 % on heads" in found[1]
    assert "to the first network, 112 % on UTKFace and 112 % on heads" in found[1]
    assert "leave 12 % of that on heads" in found[2]
    assert "brightness of 79, rendered ones 100" in found[2]
    assert "Guided, 1 of 3 groups (White, UTKFace) end further" in found[2]
    assert "49 % of guided heads" in found[2] and "93 % of rendered ones" in found[2]


def test_findings_ask_every_judge_and_show_its_floor(results):
    from findings import findings_table

    table = findings_table(results, "all")
    assert "N: first network 6,000, second network 6,000, face embedding 2,000." in table
    header, *rows = lines_of(table)
    assert header[1:] == ["plain", "guided", "with a pilot", "noise floor"]
    wanted = {
        "UTKFace: first network": [0.4, 0.1, 0.03, 0.017],
        "UTKFace: second network": [0.402, 0.102, 0.032, 0.027],
        "UTKFace: face embedding": [0.455, 0.155, 0.085, 0.04],
        "heads: first network": [0.2, 0.05, 0.015, 0.017],
        "heads: second network": [0.202, 0.052, 0.017, 0.027],
    }
    assert [row[0] for row in rows] == list(wanted)
    for name, *values in rows:  # two digits are shown
        assert [*map(float, values)] == pytest.approx(wanted[name], abs=0.0051)


def test_findings_list_a_third_world_as_soon_as_it_is_measured(results):
    from findings import findings_table

    judges = pd.read_csv(results / "judges.csv").query("world == 'heads'")
    third = judges.assign(world="celeba", attribute="gender,age")
    write(results, "judges.csv", pd.concat([pd.read_csv(results / "judges.csv"), third]))
    table = findings_table(results, "all")
    left = "25 to 34 % on UTKFace, 25 to 26 % on CelebA and 25 to 26 % on heads"
    assert f"leaves, to three judges, {left}" in table
    assert "| CelebA: second network | 0.20 |" in table


def test_findings_leave_out_what_nobody_has_measured(results):
    from findings import findings_table

    for name in ("judges.csv", "embedding.csv"):
        table = pd.read_csv(results / name)
        table[~table["method"].str.startswith("guided")].to_csv(results / name, index=False)
    table = findings_table(results, "all")
    assert len([line for line in table.splitlines() if line.startswith("- ")]) == 1
    assert "guided" not in table.lower() and "pilot" not in table


def test_the_guidance_table_marks_the_chosen_pair_and_sorts_numbers_as_numbers(results):
    from tables_of_studies import guidance_table

    table = guidance_table(results, "utkface")
    header, *rows = lines_of(table)
    assert [row[1] for row in rows] == [
        *("**6 from step 3: chosen**", "12 from step 3", "random", "50", "1000")
    ]
    assert rows[0][header.index("change")] == "7.0"
    assert rows[0][header.index("corrected joint FD")] == "0.070 (0.050 to 0.130)"
    assert "N = 384" in table and "noise floor 0.080" in table


def test_the_embedding_table_takes_seeds_together_and_says_what_is_left_of_a_person(results):
    from tables_of_methods import embedding_table

    table = embedding_table(results, "utkface")
    rows = {row[0]: row for row in lines_of(table) if len(row) == 2}
    assert rows["guidance by the mixture"][1] == "0.155 (0.150 to 0.160)"
    assert rows["*noise floor*"][1] == "0.040"
    assert rows["*right about held-out faces*"][1] == "0.890"
    pairs = {tuple(row[:2]): row[2:] for row in lines_of(table) if len(row) == 6}
    same = pairs["guidance by the mixture", "same seed"]
    assert same == ["100", "0.230", "0.980 (0.970 to 0.990)", "0.960"]
    assert pairs["held-out faces", "strangers"][-1] == ""


def test_the_lecture_table_asks_three_judges_and_leaves_out_who_was_not_asked(results):
    from tables_of_methods import lecture_table

    table = lecture_table(results, "utkface")
    rows = {row[0]: row[1:] for row in lines_of(table)}
    assert rows["guidance by the mixture"] == ["0.10", "0.10", "0.16", "15"]
    assert rows["(e) the same, means moved outward first"] == ["0.05", "0.05", "", "15"]
    assert rows["*noise floor*"] == ["0.02", "0.03", "0.04", ""]
    assert "first network 6,000" in table and "face embedding 2,000" in table


def test_differences_have_a_sign_an_interval_and_n(tmp_path):
    from tables_of_methods import differences_table

    row = {"world": "tiny", "judge": "first", "n": 6000, "low": -0.2, "high": -0.1}
    row |= {"attribute": "gender,race", "difference": -0.15}
    later = row | {"method": "guided_pilot", "other": "guided", "difference": 0.01, "high": 0.03}
    rows = [later, row | {"method": "guided", "other": "plain"}]
    write(tmp_path, "differences.csv", rows)
    table = differences_table(tmp_path, "tiny")
    found = lines_of(table)[1:]
    assert [line[3] for line in found] == ["-0.150 (-0.200 to -0.100)", "+0.010 (-0.200 to +0.030)"]
    assert found[0][:3] == ["guidance by the mixture", "plain sampling", "first"]
    assert "N = 6000" in table


def test_what_goes_with_gender_has_a_table_of_its_own_with_the_cells_it_hangs_on(tmp_path):
    from tables_of_studies import confounds_table, downstream_table

    which = {"world": "tiny", "n": 1000, "tested": 4640, "worst": "male", "gap": 0.1}
    smile = {"task": "smile", "smallest_cell": 210, "accuracy": 0.9, "worst_group": 0.8}
    blond = {"task": "blond and gender", "smallest_cell": 44, "accuracy": 0.85, "worst_group": 0.7}
    said = {"alone": 0.05, "plain": 0.06, "guided": 0.03}
    rows = [
        which | task | {"method": method, "seed": seed, "equalized_odds": beyond + 0.01 * seed}
        for task in (smile, blond | {"trained_gap": 0.2})
        for method, beyond in said.items()
        for seed in (0, 1)
    ]
    for row in rows:
        row["exaggeration"] = row["equalized_odds"] if "trained_gap" in row else None
    write(tmp_path, "downstream.csv", rows)
    tasks = {line[1] for line in lines_of(downstream_table(tmp_path, "all"))[1:]}
    assert tasks == {"smile (N = 4,640, 210)", "smile"}
    table = lines_of(confounds_table(tmp_path, "tiny"))
    alone = ["blond and gender (N = 4,640, 44)", "*real faces alone*", "0.850", "0.200", "0.055"]
    assert table[1][:5] == alone
    changes = {line[1]: line[4] for line in table[2:]}
    assert changes["guided faces added"].startswith("-0.020 (")
    assert changes["*guided less plain faces*"].startswith("-0.030 (")


def test_labels_are_told_as_shares_in_training_and_as_counts_where_they_judge(tmp_path):
    from tables_of_worlds import labels_table

    rows = [
        {"world": "tiny", "split": split, "cell": cell, "group": group, "n": n, "of": of}
        for split, of in (("train", 1000), ("test", 50))
        for cell, few in (("female", 10), ("male", 20))
        for group, n in (("smiling", few), ("glasses", 2 * few), ("blond", 3 * few), ("none", 9))
    ]
    write(tmp_path, "labels.csv", rows)
    _, female, male = lines_of(labels_table(tmp_path, "tiny"))
    assert female == ["female", "1,000", "1 %", "2 %", "3 %", "50", "10", "20", "30"]
    assert male == ["male", "1,000", "2 %", "4 %", "6 %", "50", "20", "40", "60"]


def test_the_coverage_table_names_the_worst_setting(tmp_path):
    from tables_of_studies import coverage_table

    rows = [
        {"n_groups": k, "n": 200, "fd": 0.1, "corrected": 0, "replicates": 400} for k in (2, 3, 8)
    ]
    for row, held in zip(rows, (0.96, 0.93, 0.96), strict=True):
        row |= {"coverage": held, "width": 0.1}
    write(tmp_path, "coverage.csv", rows)
    table = coverage_table(tmp_path, "all")
    (row,) = lines_of(table)[1:]
    assert row[1:] == ["0.10", "3", "0.950", "0.930 (3 groups, N = 200)", "0.33", "0.100"]
    # sqrt(.95 * .05 / 400)
    assert "400 replicates" in table and "0.011" in table


def test_the_strangers_table_tells_every_judge_of_every_crowd_and_hides_others(tmp_path):
    from write_tables import strangers_table

    columns = ["faces", "psi", "strength", "judge", "attribute", "group", "n", "measure"]
    columns += ["value", "low", "high"]

    def crowd(faces, strength, fd, share):
        which = (faces, 0.7, strength)
        joint = ("gender,race", "", 1000)
        rows = [
            (*which, judge, *joint, "fd", value, value - 0.01, value + 0.02)
            for judge, value in (("first network", fd), ("embedding", fd + 0.1))
        ]
        rows += [
            (*which, judge, "race", "Black", 1000, "share", value, None, None)
            for judge, value in (("first network", share), ("embedding", 2 * share))
        ]
        rows.append((*which, "embedding", *joint, "frechet", 0.1234, None, None))
        rows.append((*which, "first network", *joint, "floor", 0.042, None, None))
        if strength is not None:
            rows.append((*which, "embedding", *joint, "one person", 0.46, 0.4, 0.52))
        return rows

    told = [*crowd("plain", None, 0.344, 0.02), *crowd("moved", 2.0, 0.062, 0.1)]
    hidden = crowd("no such crowd", None, 0.9, 0.3)
    pd.DataFrame(told + hidden, columns=columns).to_csv(tmp_path / "strangers.csv", index=False)
    table = strangers_table(tmp_path, "strangers")
    header, drawn, moved = lines_of(table)
    assert header[1:3] == ["FD, first network", "FD, embedding"]
    assert drawn[1:4] == ["0.344 (0.334 to 0.364)", "0.444 (0.434 to 0.464)", "0.020 to 0.040"]
    assert moved[1] == "0.062 (0.052 to 0.082)" and moved[4] == "0.46 (0.40 to 0.52)"
    assert drawn[4] == "" and drawn[5].startswith("0.123")
    assert "0.900" not in table and "N = 1000" in table and "floor 0.042" in table
