"""Averages the weights of a model with those of an earlier state of it, which keeps what the earlier one did better.

usage: python average_models.py EARLIER LATER AVERAGED [--share 0.4]

Weights of one training that went on lie close enough together for their mean to draw well (Wortsman et al. 2022,
arXiv:2109.01903). EARLIER and LATER are exported models of the same shape; tokens that only LATER has stay as they are.
AVERAGED receives a model that `train_unet.py --start` takes.
"""
import argparse
import shutil
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel


@torch.no_grad()
def average(earlier: torch.nn.Module, later: torch.nn.Module, share: float):
    """Moves `later` by `share` of the way towards `earlier`."""
    values = earlier.state_dict()
    for name, value in later.state_dict().items():
        if value.is_floating_point():
            other = values[name]
            value[:len(other)].lerp_(other, share)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for folder in ("earlier", "later", "averaged"):
        parser.add_argument(folder, type=Path)
    parser.add_argument("--share", type=float, default=0.4, help="of the earlier model")
    arguments = parser.parse_args()
    shutil.copytree(arguments.later, arguments.averaged, ignore=shutil.ignore_patterns("train", "unet", "text_encoder"))
    for part, kind in (("unet", UNet2DConditionModel), ("text_encoder", CLIPTextModel)):
        earlier, later = (kind.from_pretrained(folder / part).float() for folder in (arguments.earlier, arguments.later))
        average(earlier, later, arguments.share)
        later.save_pretrained(arguments.averaged / part)


if __name__ == "__main__":
    main()
