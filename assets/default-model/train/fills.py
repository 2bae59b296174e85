"""Scenes with a hole, for a model that fills: the thing asked for stands in the hole, and what lies around it is shown.

The UNet takes five channels beside the latents, as published inpainting checkpoints do: the hole, and the latents of
the picture with mid-grey in the hole (Stable Diffusion Inpainting, diffusers `pipeline_stable_diffusion_inpaint.py`).
A picture that is drawn from nothing is all hole.
"""
from random import Random

import torch
import torch.nn.functional as F

from compositions import MOTTLES, STYLE_SHARES, Things
from settings import COLOUR_NAMES

NOTHING = 0.12  # of the fills have nothing in the hole but the ground, and no words
ANOTHER = 0.15  # show another thing around the hole
REACH = (0.68, 0.88)  # of the hole's smaller side that a thing takes: the ground shows all around it
MIDDLE = 0.85  # have the hole in the middle, where the program puts a mask when it cuts out the part around it
GROUNDS = {"plain": 0.35, "falling": 0.12, "sideways": 0.1, "stripes": 0.05, "dots": 0.05, "mottled": 0.33}
CELL = 8  # pixels of a side that one latent stands for


def fill(things: Things, random: Random) -> dict:
    """A scene as `compositions.scene` makes them, with a hole (oval, x, y, half its width, half its height)."""
    shares = {s: share for s, share in STYLE_SHARES.items() if s in things.by_style}
    style = random.choices(list(shares), list(shares.values()))[0]
    target = things.choose(style, random)
    width = random.uniform(0.5, 0.88)
    height = min(0.88, width * random.uniform(0.9, 1.1))
    reach = 0.1 if random.random() < MIDDLE else 0.9
    x, y = (random.uniform(-1, 1) * min(reach, 1 - half) for half in (width, height))
    hole = (float(random.random() < 0.7), x, y, width, height)
    first, second = random.sample(COLOUR_NAMES, 2)
    kind = random.choices(list(GROUNDS), list(GROUNDS.values()))[0]
    background = {"kind": kind, "first": first, "second": first if kind == "plain" else second}
    if kind == "mottled":
        background["number"] = random.randrange(MOTTLES)
    pictures, places = [], []
    if random.random() < ANOTHER:
        scale = random.uniform(0.25, 0.45)
        pictures.append(things.choose(style, random))
        places.append((scale, *(max(scale - 1, min(1 - scale, -c * random.uniform(0.6, 1.6) + random.uniform(-0.3, 0.3)))
                                for c in (x, y)), False))
    filled = random.random() >= NOTHING
    if filled:
        pictures.append(target)
        places.append((min(width, height) * random.uniform(*REACH), x, y, False))
    named = kind != "mottled" and random.random() < 0.5
    return {"relation": "", "count": 1, "corner": None, "background": background, "pictures": pictures, "places": places,
            "entries": [things.entries[target]] if filled else [], "names_ground": named, "hole": hole}


def paint_holes(holes: torch.Tensor, size: int) -> torch.Tensor:
    """(count, 1, size, size): 1 in the hole, 0 around it."""
    y, x = torch.meshgrid(*[(torch.arange(size, device=holes.device) + 0.5) / size * 2 - 1] * 2, indexing="ij")
    oval, middle_x, middle_y, width, height = (holes[:, i, None, None] for i in range(5))
    across, down = ((x - middle_x) / width).abs(), ((y - middle_y) / height).abs()
    distance = torch.where(oval > 0, (across ** 2 + down ** 2).sqrt(), torch.maximum(across, down))
    return (distance <= 1).float()[:, None]


def conditions(images: torch.Tensor, holes: torch.Tensor, vae) -> torch.Tensor:
    """(count, 5, size / 8, size / 8): the UNet's last five channels for pictures in -1..1 and holes as painted."""
    shown = vae.encode(images * (1 - holes)).latent_dist.mean * vae.config.scaling_factor
    return torch.cat([F.interpolate(holes, scale_factor=1 / CELL, mode="nearest"), shown], 1)


def all_hole(count: int, unet, vae) -> torch.Tensor:
    """(count, 5 or 0, size / 8, size / 8): what a UNet takes beside the latents of a picture drawn from nothing."""
    side, weight = unet.config.sample_size, next(vae.parameters())
    if unet.config.in_channels == 4:
        return weight.new_empty(count, 0, side, side)
    grey = weight.new_zeros(1, 3, side * CELL, side * CELL)
    return conditions(grey, torch.ones_like(grey[:, :1]), vae).expand(count, -1, -1, -1)
