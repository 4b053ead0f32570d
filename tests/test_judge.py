"""Each test is named after the promise it keeps."""

import numpy as np
import pytest
from conftest import ATTRIBUTES
from scipy import ndimage
from scipy.linalg import sqrtm

from fairgen_utils.judge import (
    audit_fairness,
    audit_groups,
    audit_quality,
    balanced_moments,
    brightness,
    frechet_distance,
    group_brightness,
    kernel_distance,
    manifold_scores,
    recognition_rate,
    relative_sharpness,
    sharpness,
    within_group_variance,
)
from fairgen_utils.load import Predictions, load_world
from fairgen_utils.measure import fd_interval


def features_of(n, width=6, shift=0.0, scale=1.0, seed=0):
    return shift + scale * np.random.default_rng(seed).standard_normal((n, width))


def statistics(features):
    return features.mean(0), np.cov(features, rowvar=False)


def test_balanced_moments_weigh_every_cell_alike():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (900, 3)), rng.normal(4, 1, (100, 3))])
    mean, covariance = balanced_moments(features, np.repeat([0, 1], [900, 100]))
    # halves at 0 and 4: mean 2; variance 1 within plus 4 between; ten standard errors of slack
    assert np.allclose(mean, 2, atol=0.3)
    assert np.allclose(np.diag(covariance), 5, atol=0.7)


# Frechet distance


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance_is_the_distance_of_two_gaussians(seed):
    # Dowson and Landau (1982): |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), the root by scipy.
    rng = np.random.default_rng(seed)
    features = features_of(200, seed=seed) @ rng.standard_normal((6, 6))
    mean, root = rng.standard_normal(6), rng.standard_normal((6, 6))
    covariance = root @ root.T
    own_mean, own = statistics(features)
    wanted = np.sum((own_mean - mean) ** 2) + np.trace(
        own + covariance - 2 * sqrtm(own @ covariance).real
    )
    # scipy's root of a matrix that isn't symmetric keeps ten of double precision's 16 digits
    assert frechet_distance(features, mean, covariance) == pytest.approx(wanted, rel=1e-9)


def test_frechet_distance_to_their_own_statistics_is_zero():
    features = features_of(300)
    # roots of eigenvalues off by 1e-10 are off by 1e-5 at most
    assert frechet_distance(features, *statistics(features)) == pytest.approx(0, abs=1e-5)


def test_frechet_distance_of_a_shift_is_its_square():
    features = features_of(300)
    mean, covariance = statistics(features)
    shifted = frechet_distance(features + 0.5, mean, covariance)
    assert shifted == pytest.approx(6 * 0.25, abs=1e-5)


def test_frechet_distance_is_biased_upward_when_faces_are_few():
    # All drawn from the reference itself: what is left is the price of few faces.
    few, many = (
        np.mean(
            [frechet_distance(features_of(n, seed=s), np.zeros(6), np.eye(6)) for s in range(9)]
        )
        for n in (30, 1000)
    )
    assert few > 3 * many


def test_frechet_distance_knows_features_that_do_not_vary():
    # Dead units are common after a ReLU: the covariance is singular.
    features = features_of(100)
    features[:, 0] = 0
    assert frechet_distance(features, *statistics(features)) == pytest.approx(0, abs=1e-5)


# Kernel distance


def test_kernel_distance_is_the_estimate_of_its_paper():
    # Binkowski et al. (2018), eq. 4 written out: the mean of k over pairs of different faces,
    # k(x, y) = (x.y / d + 1)^3.
    features, reference = features_of(40), features_of(50, shift=0.3, seed=1)

    def kernel(a, b):
        return (a @ b.T / 6 + 1) ** 3

    def pairs(k):
        return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))

    wanted = (
        pairs(kernel(features, features))
        + pairs(kernel(reference, reference))
        - 2 * kernel(features, reference).mean()
    )
    assert kernel_distance(features, reference) == pytest.approx(wanted, rel=1e-9)


def test_kernel_distance_averages_zero_within_one_distribution():
    # Also for few faces, unlike the Frechet distance: within four standard errors.
    values = [
        kernel_distance(features_of(20, seed=s), features_of(20, seed=s + 100))
        for s in range(100)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / 10


def test_kernel_distance_grows_with_the_shift():
    reference = features_of(300, seed=1)
    distances = [kernel_distance(features_of(300, shift=s), reference) for s in (0, 0.5, 1)]
    assert distances[0] < distances[1] < distances[2]


def test_kernel_distance_does_not_depend_on_the_order_of_faces():
    features, reference = features_of(30), features_of(200, shift=0.3, seed=1)
    ours, turned = kernel_distance(features, reference), kernel_distance(features[::-1], reference)
    assert turned == pytest.approx(ours, rel=1e-9)


# Precision, recall, density, coverage


def test_manifold_scores_agree_with_their_definition_face_by_face():
    generated, reference, k = features_of(30, 3), features_of(40, 3, seed=1), 4

    def reach(points, i):
        return np.sort(np.linalg.norm(points - points[i], axis=1))[k]  # place 0 is itself

    def in_ball(x, points, i):
        return np.linalg.norm(x - points[i]) <= reach(points, i)

    real = np.array([[in_ball(g, reference, j) for j in range(40)] for g in generated])
    made = np.array([[in_ball(r, generated, i) for i in range(30)] for r in reference])
    scores = manifold_scores(generated, reference, k)
    assert scores["precision"] == pytest.approx(np.mean([row.any() for row in real]))
    assert scores["recall"] == pytest.approx(np.mean([row.any() for row in made]))
    assert scores["density"] == pytest.approx(np.mean([row.sum() for row in real]) / k)
    assert scores["coverage"] == pytest.approx(np.mean([column.any() for column in real.T]))


def test_a_collapsed_generator_is_precise_and_covers_nothing():
    reference = features_of(400)
    scores = manifold_scores(reference[:1] + features_of(400, scale=1e-3), reference)
    assert scores["precision"] == 1
    assert scores["coverage"] < 0.1 and scores["recall"] < 0.1


def test_a_generator_beside_the_data_is_never_precise():
    scores = manifold_scores(features_of(200, shift=50), features_of(200))
    assert scores == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_a_perfect_generator_has_density_one():
    # expectation (Naeem et al., section 3.2): density 1, coverage 1 - 2^-k up to finite samples
    drawn = [manifold_scores(features_of(400, seed=s), features_of(400, seed=99)) for s in range(9)]
    assert np.mean([d["density"] for d in drawn]) == pytest.approx(1, abs=0.05)
    assert np.mean([d["coverage"] for d in drawn]) == pytest.approx(1 - 2**-5, abs=0.02)


# Looks


def test_sharpness_falls_with_every_blur_and_flat_pictures_have_none():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
    soft = ndimage.uniform_filter(sharp, (0, 3, 3, 0))
    softer = ndimage.uniform_filter(soft, (0, 3, 3, 0))
    assert sharpness(sharp) > 2 * sharpness(soft) > 2 * sharpness(softer)
    assert sharpness(np.full((2, 8, 8, 3), 77, np.uint8)) == 0


def test_sharpness_is_that_of_brightness_in_the_unit_range():
    spot = np.zeros((1, 9, 9, 3), np.uint8)
    spot[0, 4, 4] = 255
    # the Laplacian of a single bright pixel: -4 there, 1 at its four neighbours
    assert sharpness(spot) == pytest.approx((16 + 4) / 81)


def test_sharpness_of_evener_groups_is_held_against_the_same_groups():
    rng = np.random.default_rng(0)
    contrast = np.array([20, 60])  # the second group has more detail, as long hair does

    def crowd(share, blur=1.0):
        labels = (rng.random(400) < share).astype(int)
        noise = rng.normal(0, blur, (400, 12, 12, 1)) * contrast[labels][:, None, None, None]
        return np.clip(128 + noise, 0, 255).astype(np.uint8).repeat(3, -1), {"hair": labels}

    (plain, of_plain), (even, of_even) = crowd(0.1), crowd(0.5)
    assert sharpness(even) > 1.8 * sharpness(plain)
    assert relative_sharpness(even, of_even, plain, of_plain) == pytest.approx(1, abs=0.05)
    soft, of_soft = crowd(0.5, 0.9)
    assert relative_sharpness(soft, of_soft, plain, of_plain) == pytest.approx(0.81, abs=0.05)
    with pytest.raises(ValueError, match="labels: found hair; other_labels are of age"):
        relative_sharpness(even, of_even, plain, {"age": of_plain["hair"]})
    with pytest.raises(ValueError, match="other_labels: hair has 3 entries, for 400 faces"):
        relative_sharpness(even, of_even, plain, {"hair": of_plain["hair"][:3]})


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 3)), np.zeros((0, 8, 8, 3), np.uint8)])
def test_sharpness_refuses_what_is_no_picture(images):
    with pytest.raises(ValueError, match="images: found"):
        sharpness(images)


def test_brightness_is_that_of_the_middle_of_each_face():
    images = np.full((2, 64, 64, 3), 200, np.uint8)
    images[:, 24:42, 24:42] = np.array([30, 90], np.uint8)[:, None, None, None]
    assert brightness(images).tolist() == [30, 90]  # not of a bright wall behind it
    assert brightness(images.repeat(2, 1).repeat(2, 2)).tolist() == [30, 90]


# Audits


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


def predictions_of(world, **labels):
    """Predictions with the given labels, and features that play no part."""
    n = len(next(iter(labels.values())))
    labels = {name: np.asarray(values) for name, values in labels.items()}
    return Predictions(labels, {}, np.zeros((n, 128), np.float32))


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


def test_faces_handed_out_by_quotas_have_a_floor_and_intervals_of_their_own(world):
    # every face is what it was made for, and is read so: nothing is left to chance
    cells = np.tile(np.arange(2), 300)
    said = predictions_of(world, gender=cells)
    free, fixed = (audit_fairness(world, said, "gender", cells=c) for c in (None, cells))
    assert free["fd"] == fixed["fd"] == 0
    assert fixed["fd_high"] < 1e-3 < free["fd_high"]
    # what is left of the floor is how well the classifier's errors are known
    assert 0 < fixed["fd_floor95"] < free["fd_floor95"]


def test_an_audit_of_the_worlds_own_errors_is_as_sure_as_its_held_out_faces(world):
    said = predictions_of(world, gender=np.repeat([0, 1], [60_000, 40_000]))
    row, k = audit_fairness(world, said, "gender"), 2
    counts = world.confusion_counts("gender")
    assert counts.sum() == len(world.heldout("gender")[0])
    exact = fd_interval(said.labels["gender"], k, None, world.confusion("gender"))
    # a hundred thousand faces, but the matrix was counted on few
    assert row["fd_corrected_high"] - row["fd_corrected_low"] > 3 * np.diff(exact)[0]


def test_quality_prefers_the_reference_itself(world):
    features = world.reference()["features"]
    near = Predictions({}, {}, features)
    far = Predictions({}, {}, features + 2)
    assert audit_quality(world, near)["ffd"] < audit_quality(world, far)["ffd"]
    assert audit_quality(world, near)["kid"] < audit_quality(world, far)["kid"]


def stored_labels(world):
    with np.load(world.folder / "reference.npz") as stored:
        return dict(zip(world.attributes, stored["labels"].T, strict=True))


def test_groups_are_compared_with_their_own_reference_at_equal_numbers(world):
    stored = world.reference()["features"].astype(float)
    labels = stored_labels(world)
    predictions = Predictions(labels, {}, stored)
    smallest = int(np.bincount(labels["gender"]).min())
    found = audit_groups(world, predictions, "gender", smallest)
    assert list(found.groups) == list(ATTRIBUTES["gender"])
    # the reference against itself: zero but for rounding of an ill-conditioned root
    assert found.worst < 1
    swapped = Predictions(labels | {"gender": 1 - labels["gender"]}, {}, stored)
    assert min(audit_groups(world, swapped, "gender", smallest).groups.values()) > 5


def test_groups_are_told_by_their_mean_and_by_the_worst_by_name(world):
    stored = world.reference()["features"].astype(float)
    labels = stored_labels(world)
    spoiled = np.where(labels["gender"][:, None] == 1, stored + 3, stored)
    found = audit_groups(world, Predictions(labels, {}, spoiled), "gender", 20)
    assert found.worst_group == world.groups("gender")[1]
    assert found.worst == found.groups[found.worst_group] == max(found.groups.values())
    assert found.mean == pytest.approx(np.mean(list(found.groups.values())))


def test_a_group_with_too_few_faces_is_unknown_and_so_is_the_worst(world):
    labels = stored_labels(world)
    few = Predictions(labels, {}, world.reference()["features"].astype(float))
    found = audit_groups(world, few, "gender", 10_000)
    assert np.isnan([found.mean, found.worst, *found.groups.values()]).all()


def test_brightness_is_told_group_by_group(world):
    images = np.full((3, 64, 64, 3), 10, np.uint8)
    images[2] = 70
    found = group_brightness(world, images, predictions_of(world, gender=[1, 1, 1]), "gender")
    female, male = world.groups("gender")
    assert np.isnan(found[female]).all()
    # 10, 10 and 70: mean 30, squares of 20, 20 and 40 from it
    assert found[male] == pytest.approx((30, np.sqrt(800)))


def test_recognition_rate_counts_faces_that_are_what_they_were_made_for(world):
    said = predictions_of(world, gender=[0, 1, 1, 1], ancestry=[2, 0, 1, 2])
    assert recognition_rate(world, said, "gender", [0, 0, 1, 1]) == 0.75
    # jointly, the last attribute runs fastest: 0 * 3 + 2, 3, 4, 5
    assert recognition_rate(world, said, ("gender", "ancestry"), [2, 3, 4, 4]) == 0.75


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


# Refusals: each names the argument (generated bad inputs are in test_refusals.py)

GOOD, EYE, ZERO = features_of(10), np.eye(6), np.zeros(6)
NAN = np.full((10, 6), np.nan)

REFUSALS = [
    ("mean, covariance", lambda: frechet_distance(GOOD, ZERO, np.eye(5))),
    ("mean, covariance", lambda: frechet_distance(GOOD, ZERO, np.full((6, 6), np.inf))),
    ("reference", lambda: kernel_distance(GOOD, NAN)),
    ("reference", lambda: kernel_distance(GOOD, GOOD[:1])),
    ("reference: width 5", lambda: kernel_distance(GOOD, GOOD[:, :5])),
    ("reference: width 5", lambda: manifold_scores(GOOD, GOOD[:, :5])),
    ("features", lambda: manifold_scores(NAN, GOOD)),
    ("images: found", lambda: brightness(np.zeros((2, 8, 8, 3)))),
]


@pytest.mark.parametrize(("argument", "call"), REFUSALS)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=f"^{argument}"):
        call()
