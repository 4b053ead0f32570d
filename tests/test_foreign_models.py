"""Other people's models: what can be known before minutes of work is known before them.

Each entry of a table is one way in which a generator, a classifier, features or faces of somebody
else differ from what they should be; all are made up here.
"""

import warnings

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMInverseScheduler,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    LDMPipeline,
    PNDMScheduler,
    ScoreSdeVeScheduler,
    UNet2DModel,
)
from tiny_world import (
    ATTRIBUTES,
    SIZE,
    by_brightness,
    colours,
    exact_pipeline,
    random_unet,
)

from fairgen_utils.models.own_world import own_world
from fairgen_utils.models.pipeline import check_pipeline

FACES = np.repeat(np.array([60, 190] * 20, np.uint8), SIZE * SIZE * 3).reshape(-1, SIZE, SIZE, 3)
LABELLED = (FACES, {"tone": np.arange(40) % 2})


def world_of(generator=None, classifier=by_brightness, attributes=ATTRIBUTES, **changed):
    settings = {"labelled": LABELLED, "features": colours, "pool_size": 20} | changed
    return own_world(generator or exact_pipeline(), classifier, attributes, **settings)


def unet(channels=3, size=SIZE, kind=UNet2DModel, **changed):
    plain = {
        "block_out_channels": (8, 8),
        "down_block_types": ("DownBlock2D",) * 2,
        "up_block_types": ("UpBlock2D",) * 2,
    }
    return random_unet(channels, size, kind, **(plain | changed))


def autoencoder(**changed):
    settings = {
        "block_out_channels": (4, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "layers_per_block": 1,
    }
    return AutoencoderKL(**(settings | changed)).eval()


def scheduled(scheduler):
    pipeline = exact_pipeline()
    pipeline.scheduler = scheduler
    return pipeline


def latent(network=None, **changed):
    network = network or unet(4)
    return LDMPipeline(vqvae=autoencoder(**changed), unet=network, scheduler=DDIMScheduler())


class Nothing(UNet2DModel):
    """A network that overflows."""

    def forward(self, noisy, timestep):
        made = super().forward(noisy, timestep)
        made.sample = made.sample * torch.inf
        return made


class Half(UNet2DModel):
    def forward(self, noisy, timestep):
        made = super().forward(noisy, timestep)
        made.sample = made.sample[:, :, ::2]
        return made


# settings as a hub's files have them: nothing left to defaults
VE = {"num_train_timesteps": 2000, "snr": 0.075, "sigma_min": 0.01, "sigma_max": 348.0}
FLOW = dict(FlowMatchEulerDiscreteScheduler(shift=3.0).config)
SOLVER = DPMSolverMultistepScheduler
BETAS = {"beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True}

GENERATORS = {
    "of exploding variance, by another solver": (
        lambda: scheduled(SOLVER.from_config(ScoreSdeVeScheduler(**VE).config)),
        "settings of a scheduler of another kind .*sigma_max"),
    "of exploding variance": (
        lambda: scheduled(ScoreSdeVeScheduler()), "keeps latents on a scale of its own"),
    "of exploding variance, by its network": (
        lambda: DDPMPipeline(
            unet(down_block_types=("DownBlock2D",) * 2, time_embedding_type="fourier"),
            DDPMScheduler()),
        "told the noise as a scale"),
    "of flows, by another solver": (
        lambda: scheduled(SOLVER.from_config(FLOW)), "settings of a scheduler of another kind"),
    "of flows, by the solver's own switch": (
        lambda: scheduled(SOLVER(use_flow_sigmas=True, prediction_type="flow_prediction")),
        "use_flow_sigmas"),
    "that predicts what nobody knows": (
        lambda: scheduled(DDIMScheduler(prediction_type="score")), "predicts 'score'"),
    "that begins without signal": (
        lambda: scheduled(DDIMScheduler(**BETAS)), "rescale_betas_zero_snr"),
    "that goes backwards": (lambda: scheduled(DDIMInverseScheduler()), "from faces to noise"),
    "of one colour": (lambda: DDPMPipeline(unet(1), DDPMScheduler()), "of 1 channels"),
    "of no size": (lambda: DDPMPipeline(unet(size=None), DDPMScheduler()), "does not say its size"),
    "whose halves don't fit": (lambda: latent(unet(3)), "latents of 3 channels, .* reads 4"),
    "whose latents are shifted": (lambda: latent(shift_factor=0.1), "shifts latents"),
    "that overflows": (lambda: DDPMPipeline(unet(kind=Nothing), DDPMScheduler()),
                       "NaN or infinite values in torch.float32"),
    "of half the height": (lambda: DDPMPipeline(unet(kind=Half), DDPMScheduler()), "of noise of"),
    "of a size that its network cannot take": (
        lambda: DDPMPipeline(unet(size=15), DDPMScheduler()), "its U-Net, called with noise"),
    "that is a network and no pipeline": (lambda: unet(), "has no unet or no scheduler"),
}


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.filterwarnings("ignore:generator. of pure noise")
def test_a_generator_is_refused_with_the_reason_before_any_face(kind):
    make, said = GENERATORS[kind]
    with pytest.raises(ValueError, match=f"^generator: .*{said}"):
        world_of(make())


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DDPMScheduler, PNDMScheduler, SOLVER])
@pytest.mark.parametrize("source", [DDIMScheduler, DDPMScheduler, PNDMScheduler, SOLVER])
def test_solvers_made_from_each_others_settings_are_taken(scheduler, source):
    check_pipeline(scheduled(scheduler.from_config(source().config)))


@pytest.mark.parametrize("told", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("meant", ["epsilon", "v_prediction", "sample"])
def test_a_network_that_predicts_something_else_than_its_scheduler_says_is_noticed(told, meant):
    """Noise, and not noise, can be told apart; the other two, at pure noise, cannot."""
    pipeline = exact_pipeline(meant)
    pipeline.scheduler = DDIMScheduler(prediction_type=told, clip_sample=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        world_of(pipeline)
    noticed = [str(warning.message) for warning in said if "trained with" in str(warning.message)]
    assert len(noticed) == ((told == "epsilon") != (meant == "epsilon"))
    assert all(warning.filename == __file__ for warning in said if noticed)


# --- the caller's own pipeline --------------------------------------------------------------------


def state(pipeline):
    """Which parts a pipeline has, in which mode, and every weight's kind and sum."""
    found = {}
    for name, part in vars(pipeline).items():
        if isinstance(part, torch.nn.Module):
            weights = [(p.dtype, p.device, p.sum().item()) for p in part.parameters()]
            found[name] = (id(part), part.training, weights)
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.filterwarnings("ignore:generator. of pure noise")
def test_a_pipeline_that_is_given_stays_as_it_is(dtype):
    pipeline = latent()
    pipeline.unet.to(torch.bfloat16)
    pipeline.unet.train()
    before, config = state(pipeline), dict(pipeline.config)
    world = world_of(pipeline, dtype=dtype)
    assert state(pipeline) == before and dict(pipeline.config) == config
    assert world.pipeline.unet.dtype == world.pipeline.vqvae.dtype == dtype
    assert not world.pipeline.unet.training
    assert world.latents()[0].shape == (20, 4, SIZE, SIZE)
    assert state(pipeline) == before


@pytest.mark.filterwarnings("ignore:generator. of pure noise")
def test_a_pipeline_is_used_as_it_is_unless_told_otherwise():
    pipeline = latent().to(torch.bfloat16)
    world = world_of(pipeline)
    assert world.pipeline.unet is pipeline.unet and world.pipeline.vqvae is pipeline.vqvae


# --- classifiers, features, faces -----------------------------------------------------------------


class Network(torch.nn.Module):
    """A reader's own: any answer, with gradients as they are by default."""

    def __init__(self, answer):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.answer = answer

    def forward(self, images):
        bright = torch.as_tensor(images.mean((1, 2, 3)) > 127.5, dtype=torch.float32)
        return {"tone": self.answer(torch.stack([1 - bright, bright], 1) * self.scale)}


ANSWERS = {
    "with gradients": lambda tone: tone,
    "in bfloat16": lambda tone: tone.bfloat16(),
    "in float64": lambda tone: tone.double(),
    "as NumPy's": lambda tone: tone.detach().numpy(),
    "as lists": lambda tone: tone.tolist(),
    "that change what they are given": lambda tone: tone,
}


def meddling(images):
    found = by_brightness(images)
    images[:] = 0
    return found


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_classifier_may_answer_in_any_form(kind):
    answer = Network(ANSWERS[kind])
    world = world_of(classifier=meddling if "change" in kind else answer)
    found = world.classify(FACES)
    assert found.labels["tone"].tolist() == LABELLED[1]["tone"].tolist()
    assert found.probabilities["tone"].dtype == np.float32
    np.testing.assert_array_equal(world.confusion("tone"), np.eye(2))
    assert world.labelled[0].max() == 190  # our faces are as they were


class Normed(torch.nn.Module):
    """Trained, and left in training mode: what it says of a face depends on the others."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(1)

    def forward(self, images):
        n, score = len(images), torch.as_tensor(images.mean((1, 2, 3)))[:, None].float()
        if n == 1:  # as some do, to get through
            score = torch.cat([score, score])
        score = self.norm(score)
        return {"tone": torch.softmax(torch.cat([score, -score], 1), 1)[:n]}


RNG = np.random.default_rng(0)


def guessing(images):
    bright = RNG.random(len(images))
    return {"tone": np.stack([1 - bright, bright], 1)}


def raising(images):
    raise RuntimeError("expected input to have 3 channels, but got 16 channels instead")


CLASSIFIERS = {
    "that raises": (raising, "raised RuntimeError: expected input .* 3 channels"),
    "for square pictures of another size": (
        lambda images: {"tone": images.reshape(-1, 224, 224, 3)},
        r"of shape \(2, 16, 16, 3\), it raised ValueError"),
    "of scores": (Network(lambda tone: 9 * tone - 3), "no probabilities: .*softmax"),
    "of log-probabilities": (Network(lambda tone: (tone + 0.01).log()), "no probabilities"),
    "of percentages": (Network(lambda tone: 100 * tone), "no probabilities"),
    "of labels": (Network(lambda tone: tone.argmax(1)), r"tone has shape \(2,\)"),
    "of one score": (Network(lambda tone: tone[:, 1:]), r"tone has shape \(2, 1\)"),
    "of three groups": (
        Network(lambda tone: torch.cat([tone, 0 * tone[:, :1]], 1)), r"tone has shape \(2, 3\)"),
    "of NaN": (Network(lambda tone: tone * torch.nan), "no probabilities"),
    "of words": (lambda images: {"tone": [["yes", "no"]] * len(images)}, "not an array of numbers"),
    "of another attribute": (lambda images: {"Tone": images}, r"returned \['Tone'\]"),
    "of an array": (lambda images: images, "returned ndarray"),
    "of nothing": (lambda images: None, "returned NoneType"),
    "in training mode": (Normed().train(), "asked again .*eval"),
    "that guesses": (guessing, "asked again"),
    "that is a path": ("model.pt", "found str; give a callable"),
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_is_refused_with_the_reason_before_any_face(kind):
    classifier, said = CLASSIFIERS[kind]
    with pytest.raises(ValueError, match=f"^classifier: .*{said}"):
        world_of(classifier=classifier)


FEATURES = {
    "one a face": (lambda images: images.mean((1, 2, 3)), r"found shape \(2,\)"),
    "of all faces together": (lambda images: colours(images).T, r"found shape \(3, 2\)"),
    "as maps": (lambda images: images[..., :1].astype(float), "found shape"),
    "of NaN": (lambda images: colours(images) * np.nan, "NaN"),
    "that raise": (raising, "raised RuntimeError"),
    "that depend on the size": (lambda images: images.reshape(len(images), -1), "for every size"),
    "that are an array": (FACES, "found ndarray; give a callable"),
}


@pytest.mark.parametrize("kind", FEATURES)
def test_features_are_refused_with_the_reason_before_any_face(kind):
    features, said = FEATURES[kind]
    larger = (FACES.repeat(2, 1).repeat(2, 2), LABELLED[1])
    with pytest.raises(ValueError, match=f"^features: .*{said}"):
        world_of(features=features, labelled=larger)


def test_features_may_be_tensors_with_gradients():
    network = torch.nn.Linear(3, 5)
    world = world_of(features=lambda images: network(torch.as_tensor(colours(images)).float()))
    assert world.reference()["features"].shape == (40, 5)


TWO = {"tone": ("dark", "bright"), "side": ("left", "right")}


def both(images):
    return by_brightness(images) | {"side": np.full((len(images), 2), 0.5)}


SIDES = np.arange(40) % 2
ARGUMENTS = {
    "groups as one word": ({"attributes": {"tone": "dark,bright"}}, "attributes: 'tone' has 'dark"),
    "a group twice": ({"attributes": {"tone": ("dark", "dark")}}, "attributes: 'tone'"),
    "a comma in a name": ({"attributes": {"tone,side": ("a", "b")}}, "attributes: 'tone,side'"),
    "groups alone": ({"attributes": ["dark", "bright"]}, "attributes: found .*give a dict"),
    "faces without labels": ({"labelled": FACES}, "labelled: found .*give .images, labels"),
    "labels as an array": ({"labelled": (FACES, SIDES)}, "labelled: no labels for"),
    "labels as words": (
        {"labelled": (FACES, {"tone": ["dark", "bright"] * 20})}, "labelled tone: dtype"),
    "faces as numbers from 0 to 1": (
        {"labelled": (FACES / 255, LABELLED[1])}, "labelled images: found float64"),
    "faces with channels first": (
        {"labelled": (np.moveaxis(FACES, 3, 1), LABELLED[1])}, "labelled images: found uint8"),
    "nobody bright": (
        {"labelled": (FACES, {"tone": np.zeros(40, int)})}, "labelled: no face of tone bright"),
    "nobody dark on the right": (
        {"attributes": TWO, "classifier": both,
         "labelled": (FACES, {"tone": SIDES, "side": SIDES})},
        "labelled: no face of dark right, bright left"),
    "a seed of minus one": ({"seed": -1}, "seed"),
    "a part of a seed": ({"seed": 0.5}, "seed"),
    "a device that isn't there": ({"device": "cuda:99"}, "device"),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_an_argument_is_refused_by_its_name_before_any_face(kind):
    changed, said = ARGUMENTS[kind]
    with pytest.raises(ValueError, match=f"^{said}"):
        world_of(**changed)


def test_cells_outside_the_target_need_no_labelled_face():
    labelled = (FACES, {"tone": SIDES, "side": SIDES})
    world = world_of(attributes=TWO, classifier=both, labelled=labelled, target="tone")
    assert world.confusion("tone").shape == (2, 2)
