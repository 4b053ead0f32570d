"""Train the latent diffusion U-Net on the autoencoder's latents, and save the whole pipeline."""

import time

import numpy as np
import torch
from diffusers import (
    AutoencoderDC,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    LDMPipeline,
    UNet2DModel,
)
from diffusers.models.attention_processor import Attention, AttnProcessor
from training import batch_indices, parser, to_unit_range, train

from fairgen_utils._files import write_arrays
from fairgen_utils.datasets import read_faces
from fairgen_utils.judge import frechet_distance
from fairgen_utils.models.classifier import FaceClassifier
from fairgen_utils.models.diffusion import decode, denoise
from fairgen_utils.models.embedding import FaceEmbedding
from fairgen_utils.models.pipeline import latent_shape, timesteps_of

HOUR = 3600  # seconds between judgements by the face embedding, which takes minutes
CLEANEST, NOISIEST = 3.0, -4.0  # log of signal over noise, at timesteps 0 and 999
MIN_SNR = 5.0  # the gamma of min-SNR weighting, as its paper advises


def build(layers=1):
    """A small U-Net over 8x8x16 latents, attention at both resolutions.

    About 11 million parameters with one layer a block, 16 million with two.
    """
    return UNet2DModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        layers_per_block=layers,
        block_out_channels=(128, 256),
        norm_num_groups=16,
        attention_head_dim=32,
        down_block_types=("AttnDownBlock2D",) * 2,
        up_block_types=("AttnUpBlock2D",) * 2,
    )


def noise_schedule():
    """The cosine schedule with v-prediction (Salimans and Ho, 2022), cut at both ends.

    Noisier than the one end nothing is decided; cleaner than the other nothing can be seen.
    """
    log_ratios = np.array([CLEANEST, NOISIEST])  # of signal to noise, in deviations
    cleanest, noisiest = np.arctan(np.exp(-log_ratios))
    signal = np.cos(np.linspace(cleanest, noisiest, 1000)) ** 2
    betas = 1 - signal / np.append(1, signal[:-1])
    return DDPMScheduler(
        1000, trained_betas=betas.tolist(), prediction_type="v_prediction", clip_sample=False
    )


def solver():
    """The sampler the pipeline ships with: DPM-Solver++(2M), steps even in log-SNR.

    So its paper advises (Lu et al., 2022). Even in time, the first of 15 steps of the cosine
    schedule leaps over the noise at which light and colour are decided, and faces come out alike.
    """
    return DPMSolverMultistepScheduler.from_config(
        noise_schedule().config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        use_lu_lambdas=True,
    )


def draw_timesteps(how, n, generator):
    """Timesteps to train at, int64 in 0 to 999.

    Parameters
    ----------
    how : {"late", "uniform", "logit-normal"}
        More draws at the noisy end, where it is decided what kind of face it will be; all alike;
        or most in the middle (Esser et al., "Scaling rectified flow transformers", 2024).
    """
    if how == "logit-normal":
        places = torch.randn(n, generator=generator).sigmoid()
    else:
        places = torch.rand(n, generator=generator) ** (0.7 if how == "late" else 1.0)
    return (1000 * places).long().clamp(max=999)


def loss_weights(how, alphas_cumprod):
    """Weight of every face's squared error in velocity, shape (n,).

    ``"min-snr"`` holds back the cleanest timesteps (Hang et al., "Efficient diffusion training via
    min-SNR weighting", ICCV 2023).
    """
    if how == "even":
        return torch.ones_like(alphas_cumprod)
    ratio = alphas_cumprod / (1 - alphas_cumprod)
    return ratio.clamp(max=MIN_SNR) / (ratio + 1)


def encoded(autoencoder, options):
    """Latents of every face and of its mirror image, encoded once and kept with the run."""
    path = options.run / "latents.npz"
    name = f"{options.autoencoder} {options.faces} {options.split}"
    if path.exists():
        with np.load(path) as kept:
            if str(kept["name"]) == name:
                return torch.as_tensor(kept["latents"]).float()
    images = torch.as_tensor(read_faces(options.faces, options.split).images[:])
    with torch.inference_mode(), torch.autocast(options.device, torch.bfloat16):
        latents = [
            autoencoder.encode(pixels.flip(3) if mirror else pixels).latent.half().cpu()
            for mirror in (False, True)
            for pixels in (to_unit_range(b).to(options.device) for b in images.split(250))
        ]
    latents = torch.cat(latents)
    options.run.mkdir(parents=True, exist_ok=True)
    write_arrays(path, latents=latents.numpy(), name=np.array(name))
    return latents.float()


def judge(autoencoder, options):
    """How far faces of a U-Net are from held-out ones: a callable that returns a log's numbers."""
    classifier = FaceClassifier.from_pretrained(options.classifier).float().eval()
    classifier = classifier.to(options.device)
    embedding = FaceEmbedding(options.embedding) if options.embedding else None

    def features(images):
        with torch.inference_mode():
            parts = (to_unit_range(part).to(options.device) for part in images.split(250))
            return torch.cat([classifier(pixels)[0] for pixels in parts]).cpu().numpy()

    def moments(points):
        return points.mean(0), np.cov(points, rowvar=False)

    heldout = read_faces(options.faces, options.heldout).images[:]
    of_heldout = moments(features(torch.as_tensor(heldout)))
    if embedding:
        embedded = moments(embedding(heldout[: options.faces_judged]))
    latest = [time.time()]

    def evaluate(average):
        pipeline = LDMPipeline(vqvae=autoencoder, unet=average, scheduler=solver())
        with torch.autocast(options.device, torch.bfloat16):
            shape = (options.faces_judged, *latent_shape(pipeline))
            noise = np.random.default_rng(options.seed).standard_normal(shape, dtype=np.float32)
            first = int(timesteps_of(pipeline, options.steps_judged)[0])
            latents = denoise(pipeline, noise, first, options.steps_judged, progress=False)
            faces = decode(pipeline, latents, progress=False)
        found = {"frechet": frechet_distance(features(torch.as_tensor(faces)), *of_heldout)}
        if embedding and time.time() - latest[0] > HOUR:
            found["frechet_embedding"] = frechet_distance(embedding(faces), *embedded)
            latest[0] = time.time()
        return found

    return evaluate


def main():
    arguments = parser(__doc__, steps=20_000, batch_size=256, learning_rate=2.5e-4)
    arguments.add_argument("--autoencoder", required=True, help="folder of train_autoencoder.py")
    arguments.add_argument("--init", help="U-Net folder to start from instead of random weights")
    arguments.add_argument("--layers", type=int, default=1, help="in each block, of a new U-Net")
    arguments.add_argument(
        "--timesteps", choices=("late", "uniform", "logit-normal"), default="logit-normal"
    )
    arguments.add_argument("--weighting", choices=("even", "min-snr"), default="even")
    arguments.add_argument(
        "--classifier",
        help="folder of train_classifier.py: log the Frechet distance between generated and "
        "held-out faces in its features, and keep the weights where it was lowest",
    )
    arguments.add_argument("--heldout", default="heldout", help="split for that distance")
    arguments.add_argument("--faces-judged", type=int, default=1000, help="faces made for it")
    arguments.add_argument("--steps-judged", type=int, default=15, help="as the world samples")
    arguments.add_argument(
        "--embedding",
        choices=("utkface", "heads", "celeba"),
        help="frame of a face embedding that judges once an hour, too (extra: embedding)",
    )
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    autoencoder = AutoencoderDC.from_pretrained(options.autoencoder).eval().to(options.device)
    latents = encoded(autoencoder, options)
    schedule = noise_schedule()
    unet = UNet2DModel.from_pretrained(options.init) if options.init else build(options.layers)
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
        timesteps = draw_timesteps(options.timesteps, len(clean), generator)
        weights = loss_weights(options.weighting, schedule.alphas_cumprod[timesteps])
        timesteps, weights = timesteps.to(options.device), weights.to(options.device)
        noisy = schedule.add_noise(clean, noise, timesteps)
        with torch.autocast(options.device, torch.bfloat16):
            predicted = unet(noisy, timesteps).sample
        error = predicted.float() - schedule.get_velocity(clean, noise, timesteps)
        return (weights * error.square().flatten(1).mean(1)).mean()

    evaluate = keep_lowest = None
    if options.classifier:
        evaluate, keep_lowest = judge(autoencoder, options), "frechet"
    average = train(unet, loss_of_step, options, evaluate, keep_lowest)
    pipeline = LDMPipeline(vqvae=autoencoder, unet=average, scheduler=solver())
    pipeline.to(torch.float16).save_pretrained(options.run / "generator")


if __name__ == "__main__":
    main()
