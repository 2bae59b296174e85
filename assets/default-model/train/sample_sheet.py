"""Draws the forty things of prompts.txt with seeds 0 to 39 (prompt n has seed n), unpicked.

usage: python sample_sheet.py MODEL_FOLDER OUTPUT.png [--steps 20] [--guidance 3] [--scheduler DDIMScheduler]
"""
import argparse
from pathlib import Path

import diffusers
import torch
from PIL import Image


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("output")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--scheduler", default="")
    parser.add_argument("--columns", type=int, default=8)
    arguments = parser.parse_args()
    pipeline = diffusers.DiffusionPipeline.from_pretrained(arguments.model, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if arguments.scheduler:
        pipeline.scheduler = getattr(diffusers, arguments.scheduler).from_config(pipeline.scheduler.config)
    prompts = (Path(__file__).parent / "prompts.txt").read_text().splitlines()
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    empty, everywhere = Image.new("RGB", (side, side), "gray"), Image.new("L", (side, side), 255)
    # A model that fills is to paint all of an empty picture.
    fills = isinstance(pipeline, diffusers.StableDiffusionInpaintPipeline)
    start = dict(image=[empty] * len(prompts), mask_image=[everywhere] * len(prompts), strength=1.0) if fills else {}
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
    pictures = pipeline(prompts, width=side, height=side, num_inference_steps=arguments.steps, **start,
                        guidance_scale=arguments.guidance, generator=generators).images
    columns = arguments.columns
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * side, i // columns * side))
    sheet.save(arguments.output)


if __name__ == "__main__":
    main()
