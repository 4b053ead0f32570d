"""Every rival does what its name says, costs what it claims, and is no weaker than it must be."""

import numpy as np
import pytest
import torch
from conftest import build_pipeline
from diffusers import DPMSolverMultistepScheduler
from tiny_world import ATTRIBUTES, by_brightness, corner_world, exact_pipeline, make_world

from fairgen_utils.generate import Sampler
from fairgen_utils.load import load_world
from fairgen_utils.localize import localize_mixture
from fairgen_utils.measure import shares
from fairgen_utils.models.diffusion import denoise, encode
from fairgen_utils.models.low_frequency import LowFrequencyMixture
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.own_world import own_world
from fairgen_utils.models.pipeline import timesteps_of
from fairgen_utils.rivals import METHODS, bottleneck, prepare, starts
from fairgen_utils.rivals.bottleneck import distribution_gradient, fit_bottleneck, steered
from fairgen_utils.rivals.classifier_guidance import classifier_direction, log_proba_cells
from fairgen_utils.rivals.selection import OnTheFly, cell_responsibilities, choose_evenly
from fairgen_utils.rivals.starts import cluster, even_over_cells, invert

STEPS = 5


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


@pytest.fixture(autouse=True)
def small_fits(monkeypatch):
    monkeypatch.setattr(starts, "N_COMPONENTS", 3)
    monkeypatch.setattr(bottleneck, "STRENGTHS", (1.0, 2.0))


class CallCounter:
    """Counts faces that pass through a network."""

    def __init__(self, network):
        self.faces = 0
        self.hook = network.register_forward_hook(self.count)

    def count(self, module, inputs, output):
        self.faces += len(inputs[0])


GOALS = [name for name in METHODS if "goals" in name]
ELSEWHERE = ("clean", *GOALS)  # tested below, on worlds that have a use for them


EVERYWHERE = [
    pytest.param(name, marks=[pytest.mark.slow] * (name == "bottleneck"))
    for name in METHODS
    if name not in ELSEWHERE
]


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_method_repeats_itself_and_costs_the_calls_it_claims(world, name):
    counter = CallCounter(world.pipeline.unet)
    method = prepare(world, name, pilot_faces=12, progress=False)
    assert method.name == name
    assert counter.faces == method.preparation
    before = counter.faces
    first, again, other = (method.latents(4, seed, progress=False)[0] for seed in (1, 1, 2))
    assert counter.faces - before == 3 * 4 * method.nfe
    counter.hook.remove()
    assert first.shape == (4, 4, 8, 8) and np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_mixture_of_clean_latents_is_decoded_without_the_network(worlds_root, own_root):
    # its cells need several faces for each of four Gaussians: the tiny world, ten times over
    path = own_root / "tiny" / "latents.npz"
    with np.load(path) as stored:
        more = {key: np.concatenate([stored[key]] * 10) for key in stored.files}
    world = load_world("tiny", worlds_root)
    world.latents = lambda: (
        more["latents"].astype(np.float32),
        dict(zip(world.attributes, more["labels"].T, strict=True)),
    )
    counter = CallCounter(world.pipeline.unet)
    method = prepare(world, "clean", progress=False)
    assert method.latents(5, 0, progress=False)[0].shape == (5, 4, 8, 8)
    assert counter.faces == method.nfe == method.preparation == 0
    shares = np.bincount(method.start.cells_, method.weights)
    assert shares == pytest.approx(np.full(6, 1 / 6))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("magic", "choose from plain"),
        ("goals", "has no use: the target of tiny is everything"),
        ("guided_goals_pilot", "has no use: the target of tiny is everything"),
    ],
)
def test_a_method_without_use_is_refused(world, name, said):
    with pytest.raises(ValueError, match=f"name: .*{said}"):
        prepare(world, name)


# A world whose network is exact: what a method asks for is what comes out


@pytest.fixture(scope="module")
def tones():
    """A fifth of its faces is bright; no face can be taken for the other kind."""
    return make_world(size=4, num_inference_steps=20)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("guidance", "follows the gradient of a course's classifier"),
        ("bottleneck", "ExactNetwork has no mid_block"),
        ("goals", "has no use"),
        ("guided_goals", "has no use"),
    ],
)
def test_what_a_world_of_ones_own_cannot_do_is_refused(tones, name, said):
    with pytest.raises(ValueError, match=f"^name: '{name}' .*{said}"):
        prepare(tones, name)


NOT_EVEN = ("plain", "uniform", "bottleneck", "guidance", *GOALS)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NOT_EVEN])
def test_a_method_makes_the_target_even(tones, name):
    # Even from inverted noise: inversion is a map without chance, here of an exact network.
    sample = prepare(tones, name, pilot_faces=160, progress=False).draw(100, 1, progress=False)
    # binomial, N = 100: three standard errors; a pilot's own doubt shifts weights by .02
    assert sample.predictions.labels["tone"].mean() == pytest.approx(0.5, abs=0.17)


def test_uniform_weights_give_every_found_component_its_turn(tones):
    sampler = prepare(tones, "uniform", progress=False)
    sample = sampler.draw(150, 1, progress=False)
    assert shares(sample.components, 3) == pytest.approx(np.full(3, 1 / 3), abs=0.12)


@pytest.mark.parametrize("name", GOALS)
def test_attributes_that_the_target_leaves_out_are_goals_as_well(name):
    world = corner_world(target="tone")
    sample = prepare(world, name, pilot_faces=160, progress=False).draw(200, 1, progress=False)
    # binomial, N = 200: three standard errors; plain sampling has .25 and .35
    for attribute in ("tone", "side"):
        assert sample.predictions.labels[attribute].mean() == pytest.approx(0.5, abs=0.11)


@pytest.mark.parametrize("name", ["uniform", "table", "kmeans", "inverted", "localized", "guided"])
def test_large_latents_are_localized_in_their_low_frequencies(name):
    # 4,800 values: full covariances of 32 components would fill 3 GB.
    with pytest.warns(UserWarning, match="no labelled faces"):
        world = own_world(
            *(exact_pipeline(sample_size=40), by_brightness, ATTRIBUTES),
            pool_size=24,
            num_inference_steps=3,
        )
    sampler = prepare(world, name, pilot_faces=6, progress=False)
    mixture = sampler.guide if name == "guided" else sampler.start
    assert isinstance(mixture, LowFrequencyMixture)
    assert sampler.latents(2, 0, progress=False)[0].shape == (2, 3, 40, 40)


def test_plain_sampling_is_one_of_the_methods(world):
    drawn = prepare(world, "plain", progress=False).draw(3, 7, progress=False)
    plain = Sampler(world).draw(3, 7, progress=False)
    assert np.array_equal(drawn.images, plain.images)


def test_clusters_are_the_groups_that_stand_apart():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    latents = rng.normal(0, 0.1, (120, 4, 4, 4)) + truth[:, None, None, None]
    clusters = cluster(latents, 3, seed=0)
    assert all(len(set(clusters[truth == group])) == 1 for group in range(3))
    assert len(set(clusters)) == 3


def test_even_cells_get_even_weights_however_many_components_they_have():
    mixture = LatentMixture()
    mixture.cells_, mixture.weights_ = np.array([0, 0, 1]), np.array([0.1, 0.3, 0.6])
    assert even_over_cells(mixture) == pytest.approx([0.125, 0.375, 0.5])


# On-the-fly selection


def test_a_pool_is_thinned_to_any_target(tones):
    sampler = OnTheFly(tones, [0.3, 0.7], pool=6)
    sample = sampler.draw(100, 1, progress=False)
    # quotas of 70 are drawn, standard deviation 4.6
    assert sample.predictions.labels["tone"].mean() == pytest.approx(0.7, abs=0.14)
    half_way = timesteps_of(tones.pipeline, 20).index(sampler.middle)
    assert sampler.nfe == 6 * half_way + (20 - half_way)


def test_a_pool_of_as_many_as_are_wanted_is_plain_sampling(tones):
    pool = OnTheFly(tones, [0.5, 0.5], pool=1).draw(30, 1, progress=False).images
    plain = Sampler(tones).draw(30, 1, progress=False).images
    assert np.abs(pool.astype(int) - plain).mean() < 3  # the solver starts afresh half-way


def test_a_choice_from_a_pool_is_even_and_takes_nobody_twice():
    rng = np.random.default_rng(0)
    cells = np.where(rng.random(1000) < 0.9, 0, 1)
    sure = np.eye(2)[cells] * 0.9 + 0.05
    kept = choose_evenly(sure, [0.5, 0.5], 100, seed=0)
    assert len(set(kept)) == 100 and (np.diff(kept) > 0).all()
    # quotas are drawn: binomial(100, .5), standard deviation 5
    assert abs((cells[kept] == 1).sum() - 50) < 20


def test_a_pool_that_lacks_a_group_is_used_up_as_far_as_it_goes():
    sure = np.tile([1.0, 0.0], (10, 1))
    sure[0] = [0.2, 0.8]
    kept = choose_evenly(sure, [0.5, 0.5], 6, seed=0)
    assert len(set(kept)) == 6 and 0 in kept
    with pytest.raises(ValueError, match="n: found 11"):
        choose_evenly(sure, [0.5, 0.5], 11, seed=0)


# Denoising part of the way, and adjusting what is predicted


def test_denoising_in_two_parts_of_a_one_step_solver_is_denoising_at_once():
    pipeline = exact_pipeline()
    noise = np.random.default_rng(0).standard_normal((3, 3, 16, 16)).astype(np.float32)
    timesteps = timesteps_of(pipeline, 10)
    whole = denoise(pipeline, noise, timesteps[0], 10, progress=False)
    half = denoise(pipeline, noise, timesteps[0], 10, progress=False, until=timesteps[4])
    assert not np.allclose(half, whole, atol=0.1)
    rest = denoise(pipeline, half, timesteps[4], 10, progress=False)
    assert np.allclose(rest, whole, atol=1e-5)


def test_stopping_before_the_start_is_refused(pipeline):
    noise = np.zeros((1, 4, 8, 8), np.float32)
    timesteps = timesteps_of(pipeline, STEPS)
    for until in (timesteps[1], timesteps[0], 123):
        with pytest.raises(ValueError, match=f"until: found {until}"):
            denoise(pipeline, noise, timesteps[1], STEPS, progress=False, until=until)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_an_adjustment_that_changes_nothing_changes_nothing(prediction_type):
    pipeline = exact_pipeline(prediction_type)
    noise = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    first = timesteps_of(pipeline, 10)[0]
    plain = denoise(pipeline, noise, first, 10, progress=False)
    same = denoise(pipeline, noise, first, 10, progress=False, adjust=lambda clean, *_: clean)
    assert np.allclose(plain, same, atol=1e-3)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_what_is_put_in_place_of_every_prediction_is_what_comes_out(prediction_type):
    pipeline = exact_pipeline(prediction_type)
    noise = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    wanted = torch.full((2, 3, 16, 16), 0.25)
    first = timesteps_of(pipeline, 10)[0]
    found = denoise(pipeline, noise, first, 10, progress=False, adjust=lambda clean, *_: wanted)
    assert np.allclose(found, 0.25, atol=0.02)


@pytest.mark.parametrize("even_in", ["time", "log-SNR"])
def test_inverted_latents_come_back_when_denoised(even_in):
    pipeline = exact_pipeline()
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config,
        timestep_spacing="linspace",
        use_lu_lambdas=even_in == "log-SNR",
    )
    rng = np.random.default_rng(0)
    tone = np.where(rng.random(6) < 0.5, -0.5, 0.5)[:, None, None, None]
    clean = (tone + rng.normal(0, 0.15, (6, 3, 16, 16))).astype(np.float32)
    noise = invert(pipeline, clean, 200, progress=False)
    assert 0.7 < noise.std() < 1.3
    again = denoise(pipeline, noise, timesteps_of(pipeline, 200)[0], 200, progress=False)
    # each way errs at every step; the tone must survive, and most of the detail
    assert np.corrcoef(again.ravel(), clean.ravel())[0, 1] > 0.95


# Guidance by a classifier


def test_the_classifiers_guidance_fills_quotas_with_the_cells_it_finds_nearest(world):
    sampler = prepare(world, "guidance")
    sample = sampler.draw(60, 0, progress=False)
    assert np.bincount(sample.components, minlength=6).tolist() == [10] * 6
    uneven = sampler.with_weights([0.5, 0, 0.1, 0.1, 0.1, 0.2])
    assert np.bincount(uneven.draw(20, 0, progress=False).components).tolist() == [
        *(10, 0, 2, 2, 2, 4)
    ]
    with pytest.raises(ValueError, match="^weights"):
        sampler.with_weights([0.5, 0.5])


def test_a_cell_is_as_likely_as_its_groups_together(world):
    latents = torch.as_tensor(np.random.default_rng(0).standard_normal((5, 4, 8, 8))).float()
    found = np.exp(log_proba_cells(world, latents))
    with torch.inference_mode():
        decoded = world.pipeline.vqvae.decode(latents).sample
        _, logits = world.classifier(decoded)
    gender, ancestry = (logits[name].softmax(1).numpy() for name in ("gender", "ancestry"))
    np.testing.assert_allclose(found.reshape(5, 2, 3), gender[:, :, None] * ancestry[:, None], 1e-5)



def test_the_classifiers_direction_makes_the_wanted_group_likelier(world):
    rng = np.random.default_rng(0)
    latents = torch.as_tensor(rng.standard_normal((8, 4, 8, 8)), dtype=torch.float32)
    wanted = {"gender": np.arange(8) % 2}
    direction = classifier_direction(world, latents, wanted)
    assert direction.flatten(1).norm(dim=1).numpy() == pytest.approx(np.ones(8), abs=1e-4)

    def likely(latents):
        with torch.inference_mode():
            images = world.pipeline.vqvae.decode(latents).sample
            _, logits = world.classifier(images)
        return logits["gender"].log_softmax(1)[torch.arange(8), torch.as_tensor(wanted["gender"])]

    assert (likely(latents + 0.01 * direction) > likely(latents)).all()


def test_the_bottlenecks_gradient_is_that_of_the_divergence():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    coefficients = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    intercept, target = torch.zeros(3, dtype=torch.float64), torch.full((3,), 1 / 3).double()
    by_hand = distribution_gradient(features, coefficients, intercept, target)
    features.requires_grad_()
    mean = (features @ coefficients.T + intercept).softmax(1).mean(0)
    divergence = (target * (target / mean).log()).sum()
    (automatic,) = torch.autograd.grad(len(features) * divergence, features)
    assert torch.allclose(by_hand, automatic)


def test_heads_read_cells_that_the_bottleneck_shows(world):
    rng = np.random.default_rng(0)
    cells = np.arange(200) % 2
    latents = rng.normal(0, 0.3, (200, 4, 8, 8)) + np.where(cells, 1.5, -1.5)[:, None, None, None]
    heads = fit_bottleneck(
        world.pipeline, latents.astype(np.float32), cells, [0.5, 0.5], STEPS, 0, progress=False
    )
    assert list(heads) == timesteps_of(world.pipeline, STEPS)
    found = []
    hook = world.pipeline.unet.mid_block.register_forward_hook(
        lambda module, inputs, output: found.append(output.flatten(1))
    )
    last = timesteps_of(world.pipeline, STEPS)[-1]
    with torch.inference_mode():
        world.pipeline.unet(torch.as_tensor(latents, dtype=torch.float32), last)
    hook.remove()
    coefficients, intercept = heads[last]
    logits = found[0] @ coefficients.T + intercept
    assert len(coefficients) == 2
    assert (logits.argmax(1).numpy() == cells).mean() > 0.95


def test_heads_are_told_the_generators_own_shares(world, monkeypatch):
    # `some_of_each` evens the latents out: their shares are no longer the generator's.
    told = {}

    def fit(pipeline, latents, cells, priors, *rest):
        told["priors"] = priors
        return fit_bottleneck(pipeline, latents, cells, priors, *rest)

    monkeypatch.setattr(bottleneck, "fit_bottleneck", fit)
    monkeypatch.setattr(bottleneck, "STRENGTHS", (1.0,))
    target = np.full(6, 1 / 6)
    bottleneck.bottleneck_sampler(world, target, 3, progress=False, pilot_faces=40)
    labels = Sampler(world).draw(40, 3, progress=False).predictions.labels
    own = shares(world.joint(labels, world.target), 6)
    assert np.std(own) > 0.1  # otherwise this shows nothing
    # a cell that was never drawn is rare, not impossible
    np.testing.assert_allclose(told["priors"], own, atol=1e-2)
    assert (told["priors"] > 0).all() and np.sum(told["priors"]) == pytest.approx(1)


@pytest.mark.parametrize("cells", [[0, 1, 0, 1], [0, 1, 1, 2, 2]])
def test_heads_of_a_cell_with_fewer_than_two_faces_are_refused(world, cells):
    latents = np.zeros((len(cells), 4, 8, 8), np.float32)
    with pytest.raises(ValueError, match="^cells: .*two or more each"):
        fit_bottleneck(world.pipeline, latents, np.array(cells), np.full(3, 1 / 3), STEPS, 0, False)


def test_steering_ends_with_its_context_and_at_strength_zero_does_nothing(world):
    pipeline = build_pipeline()
    n_features = 16 * 4 * 4
    heads = {
        t: (0.01 * torch.ones(2, n_features) * torch.tensor([[1.0], [-1.0]]), torch.zeros(2))
        for t in timesteps_of(pipeline, STEPS)
    }
    noise = np.random.default_rng(0).standard_normal((3, 4, 8, 8)).astype(np.float32)
    first = timesteps_of(pipeline, STEPS)[0]

    def faces():
        return denoise(pipeline, noise, first, STEPS, progress=False)

    plain, target = faces(), torch.tensor([0.9, 0.1])
    with steered(pipeline.unet, heads, target, 0.0):
        assert np.allclose(faces(), plain, atol=1e-6)
    with steered(pipeline.unet, heads, target, 100.0):
        assert not np.allclose(faces(), plain, atol=1e-3)
    assert np.array_equal(faces(), plain)


def test_responsibilities_of_cells_are_the_sums_over_their_components(world):
    mixture = localize_mixture(world, "gender")
    latents = encode(world.pipeline, np.zeros((2, 64, 64, 3), np.uint8))
    responsibilities = mixture.predict_proba(latents)
    assert np.allclose(cell_responsibilities(mixture, latents, 2), responsibilities)
    mixture.cells_ = np.array([1, 1])
    assert np.allclose(cell_responsibilities(mixture, latents, 2), [[0, 1], [0, 1]])
