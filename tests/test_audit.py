"""The audit ties methods, classifier and measures together."""

import numpy as np
import pytest
from conftest import ATTRIBUTES

from fairgen_utils import parse_target
from fairgen_utils.generate import generate, pilot_weights
from fairgen_utils.judge import (
    audit_fairness,
    audit_groups,
    audit_quality,
    own_group_rate,
    within_group_variance,
)
from fairgen_utils.load import Predictions, load_world
from fairgen_utils.localize import localized_mixture
from fairgen_utils.rivals.selection import posterior_shares, reject


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


def predictions_of(world, **labels):
    """Predictions with the given labels, and features that play no part."""
    n = len(next(iter(labels.values())))
    labels = {name: np.asarray(values) for name, values in labels.items()}
    return Predictions(labels, {}, np.zeros((n, 128), np.float32))


def test_the_same_seed_makes_the_same_faces_and_another_seed_others(world):
    first, again, other = (generate(world, 4, seed, progress=False) for seed in (3, 3, 4))
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)


def test_localized_faces_remember_the_component_they_started_from(world):
    mixture = localized_mixture(world, "gender")
    sample = generate(world, 6, 0, mixture, [0, 1], progress=False)
    assert sample.components.tolist() == [1] * 6


def test_a_pilot_counts_every_face_it_made_once(world):
    mixture = localized_mixture(world, "gender,ancestry")
    target = np.full(6, 1 / 6)
    weights, table, pilot = pilot_weights(
        world, mixture, "gender,ancestry", target, per_component=4, seed=0, progress=False
    )
    assert table.sum() == len(pilot) == 24
    assert table.shape == (6, 6)
    assert weights.sum() == pytest.approx(1)


def test_rejection_keeps_the_target_and_counts_what_it_threw_away():
    # every fourth face is a woman: an even sample of 20 needs about 40 faces for its ten women
    labels = np.tile([1, 1, 1, 0], 50)
    kept, used = reject(labels, [0.5, 0.5], 20, seed=0)
    women = (labels[kept] == 0).sum()
    assert len(kept) == 20 and len(set(kept)) == 20
    assert used == kept.max() + 1
    assert used == pytest.approx(4 * women, abs=4)


def test_rejection_says_when_the_sample_was_too_small():
    kept, used = reject(np.ones(30, int), [0.5, 0.5], 20, seed=0)
    assert used == 30
    assert len(kept) < 20


def test_selected_faces_are_less_even_than_their_classifier_says():
    # simulation: one woman in ten, a classifier that errs on 5 % of each, as many kept of each
    rng = np.random.default_rng(0)
    true = (rng.random(400_000) < 0.9).astype(int)
    predicted = np.where(rng.random(400_000) < 0.05, 1 - true, true)
    women = np.flatnonzero(predicted == 0)
    kept = np.concatenate([women, np.flatnonzero(predicted == 1)[: len(women)]])
    confusion = np.array([[0.95, 0.05], [0.05, 0.95]])
    plain = np.bincount(predicted) / len(predicted)
    expected = posterior_shares([0.5, 0.5], plain, confusion)
    # 56,000 kept faces: standard error 0.002
    assert expected[0] == pytest.approx((true[kept] == 0).mean(), abs=0.01)
    assert expected[0] < 0.4


def test_even_labels_have_no_discrepancy_and_a_collapse_has_the_largest(world):
    even = predictions_of(world, gender=np.tile([0, 1], 100))
    collapsed = predictions_of(world, gender=np.ones(200, int))
    assert audit_fairness(world, even, "gender")["fd"] == 0
    assert audit_fairness(world, collapsed, "gender")["fd"] == pytest.approx(np.sqrt(0.5))


def test_correction_undoes_what_the_confusion_matrix_does_to_an_even_generator(world):
    expected = world.confusion("gender").T @ [0.5, 0.5]
    women = round(expected[0] * 100_000)
    labels = np.repeat([0, 1], [women, 100_000 - women])
    row = audit_fairness(world, predictions_of(world, gender=labels), "gender")
    # two groups: the reported shares lie off the middle by the same amount on both sides
    assert row["fd"] == pytest.approx(np.sqrt(2) * abs(expected[0] - 0.5), abs=1e-4)
    assert row["fd"] > 100 * row["fd_corrected"]
    assert row["fd_corrected"] < 1e-4


def test_an_audit_at_the_target_stays_below_its_floor_as_often_as_promised(world):
    rng = np.random.default_rng(0)
    reported = world.confusion("gender").T @ [0.5, 0.5]
    below = 0
    for _ in range(200):
        labels = rng.choice(2, 300, p=reported)
        row = audit_fairness(world, predictions_of(world, gender=labels), "gender")
        below += row["fd_corrected"] <= row["fd_floor95"]
    # binomial(200, .95): mean 190, standard deviation 3.1
    assert 180 <= below <= 199


def test_quality_prefers_the_reference_itself(world):
    features = world.reference()["features"]
    near = Predictions({}, {}, features)
    far = Predictions({}, {}, features + 2)
    assert audit_quality(world, near)["ffd"] < audit_quality(world, far)["ffd"]
    assert audit_quality(world, near)["kid"] < audit_quality(world, far)["kid"]


def test_a_target_is_read_from_words_and_numbers(world):
    assert parse_target(world, " gender, ancestry")[0] == ("gender", "ancestry")
    attribute, target = parse_target(world, "gender=0.3,0.7")
    assert attribute == ("gender",) and target.tolist() == [0.3, 0.7]
    assert parse_target(world, "gender,ancestry")[1] == pytest.approx(np.full(6, 1 / 6))


@pytest.mark.parametrize("numbers", ["0.3,0.8", "1", "a,b", "-0.5,1.5", "nan,nan"])
def test_a_target_that_is_no_distribution_is_refused_by_name(world, numbers):
    with pytest.raises(ValueError, match="target"):
        parse_target(world, f"gender={numbers}")


def test_a_pilot_serves_several_goals(world):
    mixture = localized_mixture(world, "gender,ancestry")
    goals, targets = ["gender", "ancestry"], [np.full(2, 1 / 2), np.full(3, 1 / 3)]
    weights, tables, pilot = pilot_weights(world, mixture, goals, targets, 3, 0, progress=False)
    assert [table.shape for table in tables] == [(6, 2), (6, 3)]
    assert all(table.sum() == len(pilot) == 18 for table in tables)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()


def test_own_group_rate_counts_faces_that_end_where_they_began(world):
    mixture = localized_mixture(world, "gender")
    sample = generate(world, 4, 0, mixture, progress=False)
    sample.components = np.array([0, 0, 1, 1])
    sample.predictions.labels["gender"] = np.array([0, 1, 1, 1])
    assert own_group_rate(world, mixture, sample, "gender") == 0.75


def stored_labels(world):
    with np.load(world.folder / "reference.npz") as stored:
        return dict(zip(world.attributes, stored["labels"].T, strict=True))


def test_groups_are_compared_with_their_own_reference_at_equal_numbers(world):
    stored = world.reference()["features"].astype(float)
    labels = stored_labels(world)
    predictions = Predictions(labels, {}, stored)
    smallest = int(np.bincount(labels["gender"]).min())
    distances = audit_groups(world, predictions, "gender", smallest)
    assert list(distances) == list(ATTRIBUTES["gender"])
    # the reference against itself: zero but for rounding of an ill-conditioned root
    assert max(distances.values()) < 1
    swapped = Predictions(labels | {"gender": 1 - labels["gender"]}, {}, stored)
    assert min(audit_groups(world, swapped, "gender", smallest).values()) > 5
    assert np.isnan(list(audit_groups(world, predictions, "gender", 10_000).values())).all()


def test_faces_that_vary_half_as_much_within_their_group_have_half_the_variance(world):
    stored = world.reference()["features"].astype(float)
    labels = stored_labels(world)
    real = Predictions(labels, {}, stored)
    # np.var divides by n, the reference's covariance by n - 1: 1 % at these numbers
    assert within_group_variance(world, real) == pytest.approx(1, abs=0.05)
    groups = np.stack([stored[labels["gender"] == g].mean(0) for g in (0, 1)])[labels["gender"]]
    alike = Predictions(labels, {}, groups + (stored - groups) * np.sqrt(0.5))
    expected = within_group_variance(world, real) / 2
    assert within_group_variance(world, alike) == pytest.approx(expected)
