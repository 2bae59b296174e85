"""Writes the trained weights as a diffusers StableDiffusionPipeline folder in half precision.

usage: python export.py WORK_FOLDER OUTPUT_FOLDER
"""
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

# DDIM with trailing steps starts at pure noise, which plain backgrounds need,
# and ends at the picture itself.
SCHEDULER = {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.35.2",
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
    "trained_betas": None, "prediction_type": "v_prediction", "timestep_spacing": "trailing",
    "steps_offset": 0, "set_alpha_to_one": True, "clip_sample": False, "clip_sample_range": 1.0,
    "thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0,
    "rescale_betas_zero_snr": False,
}
PIPELINE = {
    "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.35.2",
    "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", SCHEDULER["_class_name"]], "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
DEFAULTS = {"width": 128, "height": 128, "steps": 20, "guidance_scale": 3.0}


def write_json(path: Path, value: dict):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def halve(source: Path, target: Path, name: str):
    """Copies config.json and the weights, the weights as float16."""
    config = json.loads((source / "config.json").read_text())
    config.pop("_name_or_path", None)
    for key in ("dtype", "torch_dtype"):  # as transformers writes it, by version
        if key in config:
            config[key] = "float16"
    write_json(target / "config.json", config)
    weights = {}
    for key, value in load_file(source / name).items():
        half = value.half() if value.is_floating_point() else value
        assert not half.is_floating_point() or torch.isfinite(half).all(), f"{key} does not fit float16"
        weights[key] = half.contiguous()
    # Written beside and moved, so that a reader never meets half a file.
    part = target / (name + ".new")
    save_file(weights, part, metadata={"format": "pt"})
    part.replace(target / name)
    return sum(w.numel() for w in weights.values())


def main():
    work, output = Path(sys.argv[1]), Path(sys.argv[2])
    counts = {
        "unet": halve(work / "checkpoint/unet", output / "unet", "diffusion_pytorch_model.safetensors"),
        "text_encoder": halve(work / "checkpoint/text_encoder", output / "text_encoder", "model.safetensors"),
        "vae": halve(work / "vae", output / "vae", "diffusion_pytorch_model.safetensors"),
    }
    (output / "tokenizer").mkdir(exist_ok=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(work / "tokenizer" / name, output / "tokenizer" / name)
    write_json(output / "scheduler/scheduler_config.json", SCHEDULER)
    write_json(output / "model_index.json", PIPELINE)
    write_json(output / "defaults.json", DEFAULTS)
    print(counts, "parameters")


if __name__ == "__main__":
    main()
