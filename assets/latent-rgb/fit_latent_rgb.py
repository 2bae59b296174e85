#!/usr/bin/env python3
"""Fits the linear map from latents to colours that previews use: least squares of 8x8 averages of pictures
on their latents.

usage: fit_latent_rgb.py default MODEL_FOLDER PICTURE...    the model in the box; writes MODEL_FOLDER/latent_rgb.json
       fit_latent_rgb.py taesd TAESD_ENCODER PICTURE...     Stable Diffusion 1.x and 2.x, through TAESD's encoder;
                                                            prints the factors
needs: torch, diffusers, safetensors, pillow, numpy
"""
import json
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

SIDE = 256


def pictures(paths):
    """Pictures in 0..1, [count, 3, SIDE, SIDE], each also mirrored, darkened and with its channels turned."""
    out = []
    for path in paths:
        picture = Image.open(path).convert("RGBA")
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(ground, picture).convert("RGB").resize((SIDE, SIDE), Image.LANCZOS)
        pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
        out += [pixels, pixels * 0.5, pixels[[1, 2, 0]], pixels[[2, 0, 1]], 1 - pixels]
    # Plain grounds tie the corners of the colour cube down.
    for red in (0, 0.5, 1):
        for green in (0, 0.5, 1):
            for blue in (0, 0.5, 1):
                out.append(torch.tensor([red, green, blue]).view(3, 1, 1).expand(3, SIDE, SIDE))
    return torch.stack(out)


def taesd_encoder(path):
    weights = {key: value.float() for key, value in load_file(path).items()}
    convolution = torch.nn.functional.conv2d

    def block(x, layer):
        inner = x
        for index in (0, 2, 4):
            name = f"{layer}.conv.{index}"
            inner = convolution(inner, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
            if index != 4:
                inner = inner.relu()
        return (inner + x).relu()

    def encode(x):
        for layer in range(15):
            if f"{layer}.conv.0.weight" in weights:
                x = block(x, layer)
            else:
                weight = weights[f"{layer}.weight"]
                stride = 2 if f"{layer}.bias" not in weights else 1
                x = convolution(x, weight, weights.get(f"{layer}.bias"), stride=stride, padding=1)
        return x

    return encode


def main():
    kind, source, *paths = sys.argv[1:]
    images = pictures(paths)
    with torch.no_grad():
        if kind == "taesd":
            encode = taesd_encoder(source)
            latents = torch.cat([encode(batch) for batch in images.split(4)])
        else:
            from diffusers import AutoencoderKL

            vae = AutoencoderKL.from_pretrained(source, subfolder="vae", torch_dtype=torch.float32)
            latents = torch.cat([vae.encode(batch * 2 - 1).latent_dist.mean for batch in images.split(4)])
            latents = latents * vae.config.scaling_factor
    colours = torch.nn.functional.avg_pool2d(images, 8)
    x = latents.permute(0, 2, 3, 1).reshape(-1, 4)
    x = torch.cat([x, torch.ones(len(x), 1)], 1).double()
    y = colours.permute(0, 2, 3, 1).reshape(-1, 3).double()
    solution = torch.linalg.lstsq(x, y).solution
    error = ((x @ solution - y) ** 2).mean().sqrt().item()
    result = {
        "factors": [[round(value, 4) for value in row] for row in solution[:4].tolist()],
        "bias": [round(value, 4) for value in solution[4].tolist()],
    }
    print(json.dumps(result), f"root mean square error {error:.3f}")
    if kind == "default":
        with open(f"{source}/latent_rgb.json", "w") as file:
            json.dump(result, file)
            file.write("\n")


main()
