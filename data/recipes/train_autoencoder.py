"""Train the autoencoder: 64x64 RGB faces <-> 8x8x16 latents with mean 0 and deviation 1."""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC
from training import batch_indices, parser, to_unit_range, train

from fairgen_utils.datasets import read_faces

# how far latents are jittered before decoding, so that small denoising errors stay invisible
LATENT_NOISE = 0.2


def build():
    """An AutoencoderDC with no block at full resolution, where a CPU would spend all its time.

    Both end shortcuts are off: the first and last layers touching the latents are then plain
    convolutions, and the latents' scale can be folded into them.
    """
    channels, layers = (32, 64, 128, 128), (0, 1, 2, 2)
    return AutoencoderDC(
        in_channels=3,
        latent_channels=16,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        encoder_layers_per_block=layers,
        decoder_layers_per_block=layers,
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


def centre_weight(size, peak, device):
    """Weights (size, size) with mean one: a Gaussian hill on a plain, `peak` times as high."""
    squared = torch.linspace(-1, 1, size, device=device).square()
    hill = torch.exp(-(squared[:, None] + squared) / (2 * 0.35**2))
    weight = 1 + (peak - 1) * hill
    return weight / weight.mean()


def reconstruction_loss(error, peak=4.0):
    """L1 on pixels and on their gradients at two scales: gradients keep edges from blurring."""
    error = error * centre_weight(error.shape[-1], peak, error.device)
    gradients = sum(
        e.diff(dim=dim).abs().mean() for e in (error, F.avg_pool2d(error, 2)) for dim in (-1, -2)
    )
    return error.abs().mean() + 0.5 * gradients


def fold_latent_scale(autoencoder, images):
    """Rescale the layers around the latents so that every channel has deviation one."""
    with torch.inference_mode():
        latents = torch.cat([autoencoder.encode(batch).latent for batch in images.split(250)])
    deviation = latents.std((0, 2, 3))
    with torch.no_grad():
        autoencoder.encoder.conv_out.weight.div_(deviation[:, None, None, None])
        autoencoder.encoder.conv_out.bias.div_(deviation)
        autoencoder.decoder.conv_in.weight.mul_(deviation[None, :, None, None])
    return autoencoder


def main():
    arguments = parser(__doc__, steps=3000, batch_size=32, learning_rate=1e-3)
    arguments.add_argument("--heldout", default="heldout", help="split for the logged PSNR")
    arguments.add_argument("--init", help="autoencoder folder to start from, not random weights")
    arguments.add_argument(
        "--centre",
        type=float,
        default=4.0,
        help="how much more an error counts at the middle of a picture, where eyes are",
    )
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    faces = to_unit_range(read_faces(options.faces, options.split).images)
    heldout = to_unit_range(read_faces(options.faces, options.heldout).images[:1000])
    heldout = heldout.to(options.device)
    autoencoder = AutoencoderDC.from_pretrained(options.init) if options.init else build()
    autoencoder = autoencoder.to(options.device, memory_format=torch.channels_last)

    def loss_of_step(step):
        index, generator = batch_indices(len(faces), options.batch_size, step, options.seed)
        batch = faces[index].to(options.device)
        batch = batch.flip(3) if step % 2 else batch
        with torch.autocast(options.device, torch.bfloat16):
            latents = autoencoder.encode(batch).latent
            jitter = torch.randn(latents.shape, generator=generator).to(options.device)
            decoded = autoencoder.decode(latents + LATENT_NOISE * jitter).sample
        flat = latents.float().transpose(0, 1).flatten(1)
        moments = flat.mean(1).pow(2).mean() + (flat.std(1) - 1).pow(2).mean()
        return reconstruction_loss(decoded.float() - batch, options.centre) + 0.1 * moments

    def evaluate(model):
        with torch.inference_mode():
            errors = [
                (model.decode(model.encode(batch).latent).sample.clamp(-1, 1) - batch).flatten(1)
                for batch in heldout.split(100)
            ]
        mean_squared = torch.cat(errors).pow(2).mean(1) / 4
        return {"heldout_psnr": (-10 * mean_squared.log10()).mean().item()}

    average = train(autoencoder, loss_of_step, options, evaluate)
    fold_latent_scale(average.float(), faces[:2000].to(options.device))
    print(evaluate(average))
    average.save_pretrained(options.run / "autoencoder")


if __name__ == "__main__":
    main()
