"""Train the tiny pixel-space generator of notebook 10: heads at 16x16, noise prediction, no card.

It stands for a model from elsewhere: another space, size, schedule and prediction than the worlds'.
"""

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from training import batch_indices, parser, to_unit_range, train

from fairgen_utils.datasets import read_faces

SIZE = 16


def build():
    """A U-Net over 16x16 pixels of 0.7 million parameters, attention in the middle only."""
    return UNet2DModel(
        sample_size=SIZE,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )


def main():
    options = parser(__doc__, steps=4000, batch_size=64, learning_rate=1e-3).parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    pixels = to_unit_range(read_faces(options.faces, options.split).images)
    pixels = F.avg_pool2d(pixels, pixels.shape[-1] // SIZE).contiguous()
    schedule = DDPMScheduler(1000)  # the linear schedule of Ho et al., 2020
    unet = build().to(options.device)

    def loss_of_step(step):
        index, generator = batch_indices(len(pixels), options.batch_size, step, options.seed)
        clean = pixels[index]
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = torch.randint(1000, (len(clean),), generator=generator)
        noisy = schedule.add_noise(clean, noise, timesteps).to(options.device)
        predicted = unet(noisy, timesteps.to(options.device)).sample
        return F.mse_loss(predicted, noise.to(options.device))

    average = train(unet, loss_of_step, options)
    scheduler = DDIMScheduler.from_config(schedule.config, timestep_spacing="trailing")
    DDPMPipeline(average.half(), scheduler).save_pretrained(options.run / "generator")


if __name__ == "__main__":
    main()
