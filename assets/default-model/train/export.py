"""Writes the trained weights as a diffusers StableDiffusionInpaintPipeline folder in half precision.

usage: python export.py WORK_FOLDER OUTPUT_FOLDER
"""
import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from sampling import BETAS, GUIDANCE, STEPS

# DDIM with trailing steps starts at pure noise, which plain backgrounds need,
# and ends at the picture itself.
SCHEDULER = {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.35.2",
    **BETAS, "trained_betas": None, "timestep_spacing": "trailing",
    "steps_offset": 0, "set_alpha_to_one": True, "clip_sample": False, "clip_sample_range": 1.0,
    "thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0,
    "rescale_betas_zero_snr": False,
}
PIPELINE = {
    "_class_name": "StableDiffusionInpaintPipeline", "_diffusers_version": "0.35.2",
    "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", SCHEDULER["_class_name"]], "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write_json(path: Path, value: dict):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def halve(model, target: Path, name: str):
    """Writes config.json and the weights as float16, in files below 16 MB."""
    model = model.half()
    for key, value in model.state_dict().items():
        assert not value.is_floating_point() or torch.isfinite(value).all(), f"{key} does not fit float16"
    # Written beside and moved, so that a reader never meets half a model.
    beside = target / (name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside, max_shard_size="15MB")
    config = json.loads((beside / "config.json").read_text())
    config.pop("_name_or_path", None)
    write_json(beside / "config.json", config)
    shutil.rmtree(target / name, ignore_errors=True)
    beside.rename(target / name)
    return sum(p.numel() for p in model.parameters())


def main():
    work, output = Path(sys.argv[1]), Path(sys.argv[2])
    unet = UNet2DConditionModel.from_pretrained(work / "checkpoint/unet")
    size = 8 * unet.config.sample_size
    counts = {
        "unet": halve(unet, output, "unet"),
        "text_encoder": halve(CLIPTextModel.from_pretrained(work / "checkpoint/text_encoder"), output, "text_encoder"),
        "vae": halve(AutoencoderKL.from_pretrained(work / "vae"), output, "vae"),
    }
    (output / "tokenizer").mkdir(exist_ok=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(work / "tokenizer" / name, output / "tokenizer" / name)
    write_json(output / "scheduler/scheduler_config.json", SCHEDULER)
    write_json(output / "model_index.json", PIPELINE)
    write_json(output / "defaults.json", {"width": size, "height": size, "steps": STEPS, "guidance_scale": GUIDANCE,
                                         "match_colours": False})
    print(counts, "parameters")


if __name__ == "__main__":
    main()
