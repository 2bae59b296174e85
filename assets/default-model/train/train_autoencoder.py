"""Trains the autoencoder: 128x128 pictures to 16x16 latents of four channels.

usage: python train_autoencoder.py WORK_FOLDER --minutes 80 [--device cuda]

WORK_FOLDER holds pictures.npy (prepare_data.py); the result goes to WORK_FOLDER/vae,
from which a further run resumes. The shipped autoencoder was made with these
settings, on a larger set of pictures: see docs/default-model.md.
"""
import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

SIZE = 128
CROP = 64  # random crops train faster than whole pictures, and the model is convolutional
BATCH = 16
LEARNING_RATE = 2e-3


def new_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(16, 32, 64, 64), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=SIZE)


def batch(pictures: torch.Tensor, count: int, crop: int) -> torch.Tensor:
    """Random pictures over plain or vertically graded random colours, a quarter on white."""
    chosen = pictures[torch.randint(len(pictures), (count,))].float() / 255
    top = torch.rand(count, 3, 1, 1)
    graded = torch.rand(count, 1, 1, 1) < 0.3
    bottom = torch.where(graded, torch.rand(count, 3, 1, 1), top)
    height = torch.linspace(0, 1, SIZE).view(1, 1, SIZE, 1)
    background = top * (1 - height) + bottom * height
    background = torch.where(torch.rand(count, 1, 1, 1) < 0.25, torch.ones_like(background), background)
    x = chosen[:, :3] + background * (1 - chosen[:, 3:])
    x = torch.where(torch.rand(count, 1, 1, 1) < 0.5, x.flip(3), x)
    if crop < SIZE:
        row, column = torch.randint(0, SIZE - crop + 1, (2,)).tolist()
        x = x[:, :, row:row + crop, column:column + crop]
    return x * 2 - 1


def gradient_difference(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """L1 of the differences between neighbouring pixels: keeps edges sharp."""
    across = ((x[..., 1:] - x[..., :-1]) - (y[..., 1:] - y[..., :-1])).abs().mean()
    down = ((x[..., 1:, :] - x[..., :-1, :]) - (y[..., 1:, :] - y[..., :-1, :])).abs().mean()
    return across + down


def signal_to_noise(x: torch.Tensor, y: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in decibels of pictures in -1..1."""
    return -10 * math.log10(((x - y) ** 2).mean().item() / 4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    folder, device = arguments.folder, arguments.device
    torch.manual_seed(0)
    pictures = torch.from_numpy(np.load(folder / "pictures.npy")).permute(0, 3, 1, 2)
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae") if (folder / "vae").exists() else new_autoencoder()
    autoencoder.to(device)
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.97), weight_decay=1e-3)
    average = {k: v.detach().clone() for k, v in autoencoder.state_dict().items()}
    start, length, step = time.time(), arguments.minutes * 60, 0
    while (progress := (time.time() - start) / length) < 1:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 100) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * progress)))
        x = batch(pictures, BATCH, CROP).to(device)
        posterior = autoencoder.encode(x).latent_dist
        z = posterior.sample()
        y = autoencoder.decode(z).sample
        divergence = posterior.kl().mean() / z[0].numel()
        loss = ((x - y).abs().mean() + 0.5 * ((x - y) ** 2).mean()
                + 0.3 * gradient_difference(x, y) + 1e-5 * divergence)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimizer.step()
        decay = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in autoencoder.state_dict().items():
                average[key].lerp_(value, 1 - decay)
        step += 1
        if step % 200 == 0:
            print(f"{step} {time.time() - start:.0f} s, {signal_to_noise(x, y):.2f} dB", flush=True)
    autoencoder.load_state_dict(average)
    autoencoder.eval()
    with torch.no_grad():
        x = batch(pictures, 64, SIZE).to(device)
        z = autoencoder.encode(x).latent_dist.mean
        print(f"whole pictures: {signal_to_noise(x, autoencoder.decode(z).sample):.2f} dB")
        # The UNet sees latents of unit deviation.
        autoencoder.register_to_config(scaling_factor=1 / z.std().item())
    autoencoder.save_pretrained(folder / "vae")


if __name__ == "__main__":
    main()
