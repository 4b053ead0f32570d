"""Studies of guidance: ideas, copies and their control, differences between methods."""

import argparse
import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fairgen_utils.generate import recommended_sampler
from fairgen_utils.load import load_world
from fairgen_utils.measure import paired_difference
from fairgen_utils.models.guidance import Steering
from fairgen_utils.models.pipeline import timesteps_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def recipes_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data" / "recipes"))


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


# Ideas


class Pull:
    """A posterior that asks for as much as is missing to the cell's number."""

    def log_proba(self, noisy, a):
        near = -((noisy.flatten(1).mean(1)[:, None] - torch.arange(2.0)) ** 2)
        return near.log_softmax(1)

    def toward(self, noisy, a, cells):
        return cells[:, None, None, None].to(noisy) - noisy / a**0.5


def step(kind, cells=None, quota=None, **known):
    """What one step at strength .5 makes of latents of .9, 0 and .1."""
    noisy = torch.tensor([0.9, 0.0, 0.1])[:, None, None, None].expand(3, 1, 2, 2).clone()
    steering = kind(Pull(), 0.5, 0, cells, quota)
    vars(steering).update(known)
    return steering(noisy, noisy, 1.0)[:, 0, 0, 0].numpy(), steering


def test_the_second_of_two_rounds_starts_where_the_first_has_led():
    from guidance_ideas import TwoRounds

    cells = np.array([1, 1, 0])
    once, _ = step(Steering, cells)
    twice, steering = step(TwoRounds, cells)
    assert once == pytest.approx([0.95, 0.5, 0.05])
    # a quarter of the way, and a quarter of what is left then
    assert twice == pytest.approx([0.9 + 0.1 * 7 / 16, 7 / 16, 0.1 - 0.1 * 7 / 16])
    assert steering.step == 1


def test_only_faces_that_got_another_cell_than_their_likeliest_are_moved():
    from guidance_ideas import LeftAlone

    moved, steering = step(LeftAlone, quota=np.array([1, 2]))
    assert steering.cells.tolist() == [1, 0, 1]
    assert moved == pytest.approx([0.9, 0.0, 0.55])


def test_a_cell_that_is_seldom_reached_gets_more_strength_than_others():
    from guidance_ideas import OwnStrengths, strengths_of_cells

    led = np.repeat([0, 1, 2], 10)
    read = np.array([0] * 10 + [1] * 5 + [0] * 5 + [2] * 8 + [0] * 2)
    factors = strengths_of_cells(led, read, 3)
    # 0, 5 and 2 of 10 are lost: of the mean 0, 2.1 and .86, kept within bounds
    assert factors == pytest.approx([0.5, 2.0, 6 / 7])
    moved, _ = step(OwnStrengths, np.array([1, 1, 0]), factors=np.array([0.5, 2.0, 1], "f4"))
    assert moved == pytest.approx([0.9 + 0.1, 1.0, 0.1 - 0.1 * 0.25])


@pytest.mark.parametrize("idea", ["its own faces", "two rounds", "left alone", "own strengths"])
def test_every_idea_draws_faces_by_the_same_quotas(world, idea, monkeypatch):
    import guidance_ideas

    monkeypatch.setattr(guidance_ideas, "OWN_FACES", 64)
    sampler = recommended_sampler(world)
    latents, cells, read = guidance_ideas.recognised(world, 1)
    assert len(latents) == len(cells) == len(read) == 64
    # the tiny classifier reads few groups: let it read every one
    found = latents, cells, np.arange(64) % 6
    monkeypatch.setattr(guidance_ideas, "recognised", lambda *_: found)
    changed = guidance_ideas.with_idea(sampler, idea, seed=1)
    usual, cells = sampler.latents(12, 3, progress=False)
    found, same = changed.latents(12, 3, progress=False)
    assert np.bincount(same).tolist() == np.bincount(cells).tolist()
    assert not np.array_equal(found, usual)
    again = recommended_sampler(world).latents(12, 3, progress=False)[0]
    assert np.array_equal(again, usual)  # the sampler that was handed in is left as it was


# Copies


def test_copies_are_found_and_other_faces_are_not():
    from study_memorization import rows_of

    rng = np.random.default_rng(0)
    distances = {
        "held-out": rng.uniform(0.3, 0.5, 500),
        "copies": rng.uniform(0.05, 0.15, 400),
        "guided": np.concatenate([rng.uniform(0.3, 0.5, 90), rng.uniform(0.05, 0.14, 10)]),
    }
    rows = {row["faces"]: row for row in rows_of(distances, {"world": "tiny"})}
    assert rows["copies"]["n"] == 200  # the others said how near copies lie
    assert rows["copies"]["as_near"] == pytest.approx(0.95, abs=0.06)  # four standard errors
    assert rows["copies"]["nearer"] == 1 and rows["held-out"]["as_near"] == 0
    # ten copies were hidden among a hundred faces
    assert rows["guided"]["as_near"] == pytest.approx(0.10, abs=0.01)
    assert rows["guided"]["as_near_low"] < 0.1 < rows["guided"]["as_near_high"]


def test_what_was_searched_for_copies_is_not_searched_again(tmp_path, monkeypatch, capsys):
    import study_memorization

    rows = "".join(f"tiny,{space},generated\n" for space in ("features", "pixels"))
    (tmp_path / "memorization.csv").write_text(f"world,space,faces\n{rows}")
    arguments = ["--world", "tiny", "--photographs", "none.zip", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["study_memorization.py", *arguments])
    study_memorization.main()  # neither world nor photographs are there to be read
    assert "tiny: all is in" in capsys.readouterr().out
    (tmp_path / "memorization.csv").write_text("world,space,faces\ntiny,pixels,generated\n")
    with pytest.raises(ValueError, match="no world .tiny."):  # half is missing: it goes on
        study_memorization.main()


def test_rare_cells_are_those_with_less_than_half_an_even_share(world, monkeypatch):
    from study_memorization import rare_cells

    def shares(*found):
        monkeypatch.setattr(world, "training_shares", lambda _: np.array(found))
        return rare_cells(world).tolist()

    assert shares(0.4, 0.3, 0.2, 0.1) == [3]
    assert shares(0.6, 0.2, 0.1, 0.1) == [2, 3]
    assert shares(0.25, 0.25, 0.3, 0.2) == [3]  # none is so rare: the rarest


# Differences


def test_without_faces_differences_follow_from_shares_and_only_by_the_first_network(
    world, tmp_path
):
    from make_faces import FaceMaker
    from measure_differences import Labels, difference_row

    which = {"world": "tiny", "attribute": "gender", "seed": 0, "n": 400}
    rows = [
        which | {"method": method, "group": group, "share": share}
        for method, shares in (("plain", (0.2, 0.8)), ("overshoot", (0.45, 0.55)))
        for group, share in zip(world.groups("gender"), shares, strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "shares.csv", index=False)
    maker = FaceMaker(world, 400, tmp_path / "faces")
    labels = Labels(world, maker, {"first": world, "second": world}, [0], tmp_path)
    a, b = (labels.of(method, "first", "gender") for method in ("overshoot", "plain"))
    assert np.bincount(a[0]).tolist() == [180, 220] and a[1] is None
    assert labels.of("plain", "second", "gender") == (None, None)
    assert labels.of("guided", "first", "gender") == (None, None)
    row = difference_row(world, world, "gender", a, b)
    wanted = paired_difference(a[0], b[0], 2, confusion=world.confusion_counts("gender"))
    assert row == {"n": 400, **wanted._asdict()}
    assert row["difference"] < 0


def test_faces_that_lie_there_are_asked_with_the_cells_that_quotas_gave(world, tmp_path):
    from make_faces import FaceMaker
    from measure_differences import Labels

    pd.DataFrame({"world": []}).to_csv(tmp_path / "shares.csv", index=False)
    maker = FaceMaker(world, 12, tmp_path / "faces")
    faces = [maker.faces("guided", seed) for seed in (0, 1)]
    labels = Labels(world, maker, {"second": world}, [0, 1], tmp_path)
    found, cells = labels.of("guided", "second", "gender,ancestry")
    assert cells.tolist() == np.concatenate([f.cells for f in faces]).tolist()
    images = np.concatenate([f.images for f in faces])
    said = world.joint(world.classify(images).labels, "gender,ancestry")
    assert found.tolist() == said.tolist()


# Everything


def studies_of(name, folder, source):
    import measure_everything

    world = types.SimpleNamespace(name=name, folder=folder, extrapolation=1.6)
    options = argparse.Namespace(seeds=[0, 1], rival_seeds=[0], judged=700, public=True)
    return list(measure_everything.studies(world, source, options))


@pytest.mark.parametrize(
    ("name", "source"), [("heads", "data/heads"), ("utkface", "a.zip"), ("celeba", "b.zip")]
)
def test_every_study_understands_what_it_is_asked(name, source, monkeypatch, capsys):
    for script, arguments in studies_of(name, "data/heads", source):
        study = importlib.import_module(script.removesuffix(".py"))
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments), "--nothing-of-the-kind"])
        with pytest.raises(SystemExit):
            study.main()
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == f"{script}: error: unrecognized arguments: --nothing-of-the-kind"


def test_strength_is_chosen_as_soon_as_the_brightness_of_real_faces_is_known():
    first, second, *later = studies_of("heads", "data/heads", "data/heads")
    # of no method yet: every face that follows depends on the strength
    assert first[0] == "study_brightness.py" and first[1][-1] == "--methods"
    assert second[0] == "study_guidance.py" and "--choose" in second[1]
    assert "measure_worlds.py" == later[0][0]


def test_a_world_of_photographs_is_not_measured_without_them(monkeypatch, capsys):
    import measure_everything

    monkeypatch.setattr(sys, "argv", ["measure_everything.py", "--world", "utkface"])
    with pytest.raises(SystemExit):
        measure_everything.main()
    assert "--utkface: pass the folder or zip" in capsys.readouterr().err


def test_a_study_that_fails_ends_the_measurement_and_says_how_to_go_on(monkeypatch, capsys):
    import measure_everything

    done = []

    def run(command):
        done.append(Path(command[1]).name)
        return types.SimpleNamespace(returncode=int(done[-1] == "draw_pairs.py"))

    monkeypatch.setattr(measure_everything.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["measure_everything.py", "--world", "heads"])
    with pytest.raises(SystemExit, match=r"draw_pairs.py failed; once mended, the same command"):
        measure_everything.main()
    assert done == [
        *("study_brightness.py", "study_guidance.py"),
        *("measure_worlds.py", "measure_worlds.py", "draw_pairs.py"),
    ]
    done.clear()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--from-step", "6"])
    measure_everything.main()
    assert done[0] == "study_groups.py" and "next: write_tables.py" in capsys.readouterr().out


# Where the sampler's steps lie


def test_a_variance_ratio_is_covered_by_its_interval():
    from study_sampler import variance_ratio

    rng = np.random.default_rng(0)
    found, real = 1.2**0.5 * rng.normal(size=(2000, 200)), rng.normal(size=(2000, 300))
    rows = [variance_ratio(*pair) for pair in zip(found, real, strict=True)]
    covered = np.mean([row["variance_low"] < 1.2 < row["variance_high"] for row in rows])
    assert abs(covered - 0.95) < 0.015  # three standard errors
    assert np.mean([row["variance"] for row in rows]) == pytest.approx(1.2, abs=0.02)


def test_every_spacing_of_steps_is_measured_and_the_sampler_put_back(world, monkeypatch, tmp_path):
    import study_sampler as study

    usual = world.pipeline.scheduler
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    axis, real = study.principal_axis(world, faces)
    assert np.linalg.norm(axis) == pytest.approx(1, abs=1e-5) and real.shape == (20,)
    rows = [study.row_of(world, world, s, 8, 16, axis, real) for s in study.SPACINGS]
    assert rows[0]["variance"] != rows[1]["variance"]
    assert world.pipeline.scheduler is usual


def test_first_steps_are_asked_for_by_their_noise_whatever_steps_a_sampler_takes(world):
    from study_guidance import settings_of, steps_at

    own = timesteps_of(world.pipeline, world.num_inference_steps)
    assert steps_at(world, own) == list(range(len(own)))
    assert steps_at(world, (0, 2000)) == [len(own) - 1, 0]
    assert settings_of(world, "strength") == (0.5, 1.0)
    assert settings_of(world, "first_guided_step")[0] == 0
