"""Trains the autoencoder: pictures to latents of four channels, an eighth of their size.

usage: python train_autoencoder.py WORK_FOLDER --minutes 2 [--device cuda] [--preset small]

WORK_FOLDER holds pictures.zip, pictures.json and classifier.safetensors; the result goes to WORK_FOLDER/vae, from whose
weights a further run goes on.
"""
import math

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image

from compositions import Painter, load_pictures, part, plan
from train_classifier import load_classifier
from training import Average, Schedule, arguments_of, log

LEARNING_RATE = 1e-3
# The weights of the loss: L1 is 1.
SQUARES, EDGES, PERCEPTUAL, DIVERGENCE = 0.5, 0.3, 0.1, 2e-5


def new_autoencoder(preset) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=preset.autoencoder_channels,
        layers_per_block=1, norm_num_groups=16 if preset.size == 256 else 8, sample_size=preset.size,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)


def edges(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """L1 of the differences between neighbouring pixels: keeps edges sharp."""
    across = ((x[..., 1:] - x[..., :-1]) - (y[..., 1:] - y[..., :-1])).abs().mean()
    down = ((x[..., 1:, :] - x[..., :-1, :]) - (y[..., 1:, :] - y[..., :-1, :])).abs().mean()
    return across + down


def perceptual(judge, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Distance of the judge's unit-length features (Zhang et al. 2018, LPIPS, with our own network)."""
    total = 0
    with torch.no_grad():
        wanted = judge.features(x)
    for a, b in zip(wanted, judge.features(y)):
        a, b = a.float(), b.float()
        total = total + (F.normalize(a, dim=1, eps=1e-3) - F.normalize(b, dim=1, eps=1e-3)).square().sum(1).mean()
    return total


def decibels(x: torch.Tensor, y: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of pictures in -1..1."""
    return -10 * math.log10(((x - y.clamp(-1, 1)) ** 2).mean().item() / 4)


def crops(images: torch.Tensor, side: int) -> torch.Tensor:
    if images.shape[-1] <= side:
        return images
    row, column = torch.randint(0, images.shape[-1] - side + 1, (2,)).tolist()
    return images[:, :, row:row + side, column:column + side]


@torch.no_grad()
def prove(autoencoder, painter, scenes: dict, device: str, folder) -> tuple[float, float]:
    """Decibels on scenes that no training step painted, and the deviation of their latents."""
    autoencoder.eval()
    total, deviations, sheet = [], [], []
    for at in range(0, len(scenes["labels"]), 32):
        x = painter.paint(part(scenes, slice(at, at + 32), device))
        z = autoencoder.encode(x).latent_dist.mean
        y = autoencoder.decode(z).sample
        total.append(decibels(x, y))
        deviations.append(z.std().item())
        if not sheet:
            sheet = [torch.cat([x[:8], y[:8]]).clamp(-1, 1)]
    rows = ((sheet[0] + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu()
    Image.fromarray(torch.cat([torch.cat(list(rows[:8]), 1), torch.cat(list(rows[8:]), 1)]).numpy()).save(folder / "autoencoder.png")
    autoencoder.train()
    return sum(total) / len(total), sum(deviations) / len(deviations)


def main():
    arguments, preset, folder, device = arguments_of(__doc__)
    pictures, entries = load_pictures(folder, preset.size)
    painter = Painter(pictures, device)
    scenes, proof = plan(entries, None, 2 * len(entries), seed=3), plan(entries, None, 256, seed=4)
    judge, _ = load_classifier(folder, device)
    judge.to(memory_format=torch.channels_last)
    resumed = (folder / "vae").exists()
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae") if resumed else new_autoencoder(preset)
    autoencoder.to(device, memory_format=torch.channels_last).train()
    log(f"autoencoder of {sum(p.numel() for p in autoencoder.parameters()) / 1e6:.2f} M parameters")
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.97), weight_decay=1e-3, fused=True)
    average = Average(autoencoder.parameters(), 0.995)
    schedule = Schedule(arguments, warm_up=100)
    while schedule.running():
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * schedule.rate()
        with torch.no_grad():
            batch = part(scenes, torch.randint(len(scenes["labels"]), (preset.autoencoder_batch,)), device)
            x = crops(painter.paint(batch), preset.crop).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device != "cpu"):
            posterior = autoencoder.encode(x).latent_dist
            y = autoencoder.decode(posterior.sample()).sample
            likeness = perceptual(judge, x, y)
        y = y.float()
        divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
        loss = ((x - y).abs().mean() + SQUARES * ((x - y) ** 2).mean() + EDGES * edges(x, y)
                + PERCEPTUAL * likeness.float() + DIVERGENCE * divergence)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimizer.step()
        average.update()
        if schedule.step in (5, 20) or schedule.step % 100 == 0:
            log(f"autoencoder step {schedule.step}, {decibels(x, y.detach()):.2f} dB, likeness {likeness.item():.4f}")
    average.swap()
    ratio, deviation = prove(autoencoder, painter, proof, device, folder)
    log(f"whole new pictures: {ratio:.2f} dB after {schedule.step} steps")
    # The UNet sees latents of unit deviation.
    autoencoder.register_to_config(scaling_factor=1 / deviation)
    autoencoder.save_pretrained(folder / "vae")


if __name__ == "__main__":
    main()
