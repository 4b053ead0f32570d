"""Train the latent diffusion U-Net on the autoencoder's latents, and save the whole pipeline."""

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderDC,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    LDMPipeline,
    UNet2DModel,
)
from diffusers.models.attention_processor import Attention, AttnProcessor
from training import batch_indices, parser, to_unit_range, train

from fairgen_utils.datasets import read_faces
from fairgen_utils.judge import frechet_distance
from fairgen_utils.models.classifier import FaceClassifier
from fairgen_utils.models.diffusion import decode, denoise
from fairgen_utils.models.pipeline import latent_shape, timesteps_of


def build():
    """A small U-Net over 8x8x16 latents: about 11 M parameters, attention at both resolutions."""
    return UNet2DModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        layers_per_block=1,
        block_out_channels=(128, 256),
        norm_num_groups=16,
        attention_head_dim=32,
        down_block_types=("AttnDownBlock2D",) * 2,
        up_block_types=("AttnUpBlock2D",) * 2,
    )


def noise_schedule():
    """The cosine schedule with v-prediction (Salimans and Ho, 2022): no blow-up at either end."""
    return DDPMScheduler(
        1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False
    )


def solver():
    """The sampler the pipeline ships with: DPM-Solver++(2M), good from about 12 steps."""
    return DPMSolverMultistepScheduler.from_config(
        noise_schedule().config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
        # the cosine schedule's last signal-to-noise ratios are too small for the solver's logs
        lambda_min_clipped=-5.1,
    )


def main():
    arguments = parser(__doc__, steps=3000, batch_size=128, learning_rate=5e-4)
    arguments.add_argument("--autoencoder", required=True, help="folder of train_autoencoder.py")
    arguments.add_argument("--init", help="U-Net folder to start from instead of random weights")
    arguments.add_argument(
        "--classifier",
        help="folder of train_classifier.py: log the Frechet distance between generated and "
        "held-out faces in its features, and keep the weights where it was lowest",
    )
    arguments.add_argument("--heldout", default="heldout", help="split for that distance")
    arguments.add_argument("--faces-judged", type=int, default=1000, help="faces made for it")
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    autoencoder = AutoencoderDC.from_pretrained(options.autoencoder).eval().to(options.device)
    images = torch.as_tensor(read_faces(options.faces, options.split).images)
    with torch.inference_mode(), torch.autocast(options.device, torch.bfloat16):
        # each face and its mirror image
        latents = [
            autoencoder.encode(pixels.flip(3) if mirror else pixels).latent.float().cpu()
            for mirror in (False, True)
            for pixels in (to_unit_range(b).to(options.device) for b in images.split(250))
        ]
    latents = torch.cat(latents).clone()
    schedule = noise_schedule()
    unet = UNet2DModel.from_pretrained(options.init) if options.init else build()
    unet = unet.to(options.device, memory_format=torch.channels_last)
    if options.device == "cpu":
        # the fused attention's backward pass is several times slower on a CPU at 64 tokens
        for module in unet.modules():
            if isinstance(module, Attention):
                module.set_processor(AttnProcessor())

    def loss_of_step(step):
        index, generator = batch_indices(len(latents), options.batch_size, step, options.seed)
        clean = latents[index].to(options.device)
        noise = torch.randn(clean.shape, generator=generator).to(options.device)
        # more draws at the noisy end, where it is decided what kind of face it will be
        timesteps = 1000 * torch.rand(len(clean), generator=generator) ** 0.7
        timesteps = timesteps.long().to(options.device)
        noisy = schedule.add_noise(clean, noise, timesteps)
        with torch.autocast(options.device, torch.bfloat16):
            predicted = unet(noisy, timesteps).sample
        return F.mse_loss(predicted.float(), schedule.get_velocity(clean, noise, timesteps))

    def frechet_to_heldout(average):
        pipeline = LDMPipeline(vqvae=autoencoder, unet=average, scheduler=solver())
        with torch.autocast(options.device, torch.bfloat16):
            steps = 15  # as the worlds sample
            shape = (options.faces_judged, *latent_shape(pipeline))
            noise = np.random.default_rng(options.seed).standard_normal(shape, dtype=np.float32)
            first = int(timesteps_of(pipeline, steps)[0])
            latents = denoise(pipeline, noise, first, steps, progress=False)
            faces = decode(pipeline, latents, progress=False)
        return {"frechet": frechet_distance(features(torch.as_tensor(faces)), *heldout_moments)}

    evaluate = keep_lowest = None
    if options.classifier:
        classifier = FaceClassifier.from_pretrained(options.classifier).float().eval()
        classifier = classifier.to(options.device)

        def features(images):
            with torch.inference_mode():
                parts = (to_unit_range(part).to(options.device) for part in images.split(250))
                return torch.cat([classifier(pixels)[0] for pixels in parts]).cpu().numpy()

        heldout = features(torch.as_tensor(read_faces(options.faces, options.heldout).images))
        heldout_moments = heldout.mean(0), np.cov(heldout, rowvar=False)
        evaluate, keep_lowest = frechet_to_heldout, "frechet"

    average = train(unet, loss_of_step, options, evaluate, keep_lowest)
    pipeline = LDMPipeline(vqvae=autoencoder, unet=average, scheduler=solver())
    pipeline.to(torch.float16).save_pretrained(options.run / "generator")


if __name__ == "__main__":
    main()
