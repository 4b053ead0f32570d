"""A generator and a world of random weights: everything a shipped one has, in a second."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, LDMPipeline, UNet2DModel

from fairgen_utils.models.classifier import FaceClassifier

ATTRIBUTES = {
    "gender": ["female", "male"],
    "ancestry": ["african", "asian", "european"],
    "smile": ["neutral", "smiling"],
}
# gender down, ancestry across; all different, so that a mixed-up axis shows
TRAIN_COUNTS = [[1, 2, 3], [40, 50, 60]]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Nets this small are slower on several threads."""
    torch.set_num_threads(1)


def build_pipeline():
    """The shipped pipeline's classes and settings, with as few channels as they allow."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        autoencoder = AutoencoderDC(
            latent_channels=4,
            encoder_block_types="ResBlock",
            decoder_block_types="ResBlock",
            encoder_block_out_channels=(4, 8, 8, 8),
            decoder_block_out_channels=(4, 8, 8, 8),
            encoder_layers_per_block=(0, 1, 1, 1),
            decoder_layers_per_block=(0, 1, 1, 1),
            encoder_qkv_multiscales=((),) * 4,
            decoder_qkv_multiscales=((),) * 4,
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            downsample_block_type="pixel_unshuffle",
            upsample_block_type="pixel_shuffle",
            encoder_out_shortcut=False,
            decoder_in_shortcut=False,
            scaling_factor=1.0,
        )
        unet = UNet2DModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            attention_head_dim=8,
            down_block_types=("AttnDownBlock2D",) * 2,
            up_block_types=("AttnUpBlock2D",) * 2,
        )
    scheduler = DPMSolverMultistepScheduler(
        1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
        lambda_min_clipped=-5.1,
    )
    pipeline = LDMPipeline(vqvae=autoencoder.eval(), unet=unet.eval(), scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def pipeline():
    return build_pipeline()


@pytest.fixture(scope="session")
def worlds_root(tmp_path_factory):
    """A data folder with one world, "tiny". Read it only; `own_root` is there to be damaged."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "tiny"
    build_pipeline().to(torch.float16).save_pretrained(folder / "generator")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        FaceClassifier(ATTRIBUTES, (4, 8)).half().save_pretrained(folder / "classifier")
    rng = np.random.default_rng(0)
    sizes = [len(groups) for groups in ATTRIBUTES.values()]
    labels = np.array(list(np.ndindex(*sizes)) * 4, np.int8)
    np.savez_compressed(
        folder / "latents.npz",
        latents=rng.standard_normal((len(labels), 4, 8, 8)).astype(np.float16),
        labels=labels,
    )
    features = rng.standard_normal((len(labels), 128)).astype(np.float16)
    np.savez_compressed(
        folder / "reference.npz",
        labels=labels,
        predicted=np.where(rng.random(labels.shape) < 0.7, labels, 0).astype(np.int8),
        mean=features.mean(0),
        covariance=np.cov(features, rowvar=False),
        n=len(labels),
        features=features,
    )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    world = {
        "name": "tiny",
        "attributes": ATTRIBUTES,
        "cell_attributes": ["gender", "ancestry"],
        "train_counts": TRAIN_COUNTS,
        "target": "gender,ancestry",
        "timestep": 500,
        "num_inference_steps": 5,
        "extrapolation": 0.5,
        "strength": 4.0,
        "first_guided_step": 1,
        "sha256": {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        },
    }
    (folder / "world.json").write_text(json.dumps(world))
    return root


@pytest.fixture
def own_root(worlds_root, tmp_path):
    return shutil.copytree(worlds_root, tmp_path / "data")


@pytest.fixture
def recipes(monkeypatch):
    """The recipes can be imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "data" / "recipes"))
