#!/usr/bin/env python3
"""A full-size Stable Diffusion 1.5 with random weights: tiny networks never reach the paths for large tensors.

usage: full_size.py make FOLDER              writes FOLDER/checkpoint (Hugging Face layout, f16, 2.1 GB)
       full_size.py single FOLDER            writes FOLDER/single.safetensors: the same weights as one file
       full_size.py goldens FOLDER           writes FOLDER/goldens.safetensors: what diffusers computes, f32, CPU
       full_size.py time FOLDER SIZE [bf16] [RUNS]
                                             times diffusers on two threads, f32 or bf16; prints one JSON object
       full_size.py picture FOLDER SIZE [bf16]
                                             times a whole picture of 20 steps in diffusers, loaded before
       full_size.py cpp FOLDER SIZE [STEPS]  times stable-diffusion.cpp (PyPI cyllama) on single.safetensors, in f16

Needs tests/fixtures/requirements.txt. For `time`, nothing else may run.
"""
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import warnings

warnings.filterwarnings("ignore")
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures/checkpoints")
PROMPTS = ["", "a photo of a cat"]


def make(folder):
    torch.manual_seed(0)
    out = f"{folder}/checkpoint"
    os.makedirs(out, exist_ok=True)
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
            max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=0, eos_token_id=2,
            pad_token_id=1,
        )
    ).half().save_pretrained(f"{out}/text_encoder")
    UNet2DConditionModel(
        sample_size=64, in_channels=4, out_channels=4, cross_attention_dim=768, attention_head_dim=8,
        block_out_channels=(320, 640, 1280, 1280), layers_per_block=2,
    ).half().save_pretrained(f"{out}/unet")
    AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(128, 256, 512, 512), layers_per_block=2,
        norm_num_groups=32, sample_size=512, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ).half().save_pretrained(f"{out}/vae")
    tiny = f"{FIXTURES}/sd15-tiny"
    shutil.copytree(f"{tiny}/scheduler", f"{out}/scheduler", dirs_exist_ok=True)
    shutil.copytree(f"{tiny}/tokenizer", f"{out}/tokenizer", dirs_exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(f"{FIXTURES}/shared/{name}", f"{out}/tokenizer")
    shutil.copy(f"{tiny}/model_index.json", out)


def ldm_unet(key):
    """The name of a UNet's tensor in Stability's single files."""
    top = {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0", "conv_out": "out.2",
    }
    resnet = {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
    }
    for name, ldm in top.items():
        if key.startswith(name + "."):
            return ldm + key[len(name):]
    parts = key.split(".")
    if parts[0] == "mid_block":
        place, kind, rest = "middle_block", parts[1], parts[3:]
        index = 1 if kind == "attentions" else 2 * int(parts[2])
    else:
        level, kind, number, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
        index = 1 if kind == "attentions" else 0
        if kind == "downsamplers":
            return ".".join(["input_blocks", str(3 * level + 3), "0.op", *rest[1:]])
        if kind == "upsamplers":
            return ".".join(["output_blocks", str(3 * level + 2), "1" if level == 0 else "2", *rest])
        place = f"input_blocks.{3 * level + number + 1}" if parts[0] == "down_blocks" else f"output_blocks.{3 * level + number}"
    if kind == "resnets":
        rest = [resnet[rest[0]], *rest[1:]]
    return ".".join([place, str(index), *rest])


def ldm_vae(key):
    for name, ldm in {
        "mid_block.attentions.0": "mid.attn_1", "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2",
        "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out", "conv_norm_out": "norm_out",
        "conv_shortcut": "nin_shortcut", "downsamplers.0": "downsample", "upsamplers.0": "upsample", "resnets": "block",
    }.items():
        key = key.replace(name, ldm)
    key = re.sub(r"down_blocks\.(\d)", r"down.\1", key)
    return re.sub(r"up_blocks\.(\d)", lambda found: f"up.{3 - int(found[1])}", key)


def single(folder):
    tensors = {}
    for part, stem, name in (
        ("text_encoder", "model", lambda key: f"cond_stage_model.transformer.{key}"),
        ("unet", "diffusion_pytorch_model", lambda key: f"model.diffusion_model.{ldm_unet(key)}"),
        ("vae", "diffusion_pytorch_model", lambda key: f"first_stage_model.{ldm_vae(key)}"),
    ):
        for key, tensor in load_file(f"{folder}/checkpoint/{part}/{stem}.safetensors").items():
            if part == "vae" and "attn_1" in ldm_vae(key) and tensor.dim() == 2:
                tensor = tensor[:, :, None, None].contiguous()
            tensors[name(key)] = tensor
    save_file(tensors, f"{folder}/single.safetensors")


def load(folder, dtype=torch.float32):
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    return StableDiffusionPipeline.from_pretrained(
        f"{folder}/checkpoint", torch_dtype=dtype, local_files_only=True
    )


def tokens(pipeline):
    return pipeline.tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt").input_ids


def goldens(folder):
    pipeline = load(folder)
    generator = torch.Generator().manual_seed(1)
    ids = tokens(pipeline)
    text = pipeline.text_encoder(ids)[0]
    out = {"input_ids": ids, "text": text}
    for size in (256, 512):
        side = size // 8
        sample = torch.randn(2, 4, side, side, generator=generator)
        out[f"unet{size}.sample"] = sample
        out[f"unet{size}.output"] = pipeline.unet(sample, 500, text).sample
        latents = torch.randn(1, 4, side, side, generator=generator)
        out[f"vae{size}.latents"] = latents
        out[f"vae{size}.output"] = pipeline.vae.decode(latents).sample
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, f"{folder}/goldens.safetensors")


def median_seconds(run, count):
    run()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def show(result):
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()}))


def measure(folder, size, dtype, runs):
    start = time.perf_counter()
    pipeline = load(folder, dtype)
    loaded = time.perf_counter() - start
    ids = tokens(pipeline)
    text = pipeline.text_encoder(ids)[0]
    side = size // 8
    sample = torch.randn(2, 4, side, side, dtype=dtype)
    latents = torch.randn(1, 4, side, side, dtype=dtype)
    show({
        "size": size,
        "dtype": str(dtype).removeprefix("torch."),
        "load_s": loaded,
        "text_s": median_seconds(lambda: pipeline.text_encoder(ids), runs),
        "unet_step_s": median_seconds(lambda: pipeline.unet(sample, 500, text), runs),
        "vae_decode_s": median_seconds(lambda: pipeline.vae.decode(latents), runs),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "load_average": os.getloadavg()[0],
    })


def picture(folder, size, dtype):
    pipeline = load(folder, dtype)
    pipeline.safety_checker = None
    pipeline.set_progress_bar_config(disable=True)
    start = time.perf_counter()
    pipeline("a photo of a cat", width=size, height=size, num_inference_steps=20, guidance_scale=7.5)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    show({"size": size, "dtype": str(dtype).removeprefix("torch."), "picture_s": seconds, "peak_rss_mb": peak})


def cpp(folder, size, steps):
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "cyllama"), "sd", "txt2img", "--model", f"{folder}/single.safetensors",
         "-p", "a photo of a cat", "--output", f"{folder}/cyllama.png",
         "--width", str(size), "--height", str(size), "--steps", str(steps), "--cfg-scale", "7.5", "--threads", "2", "--verbose"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
    )

    def seconds(pattern):
        found = re.search(pattern, done.stdout)
        return float(found[1]) if found else None

    sampled = seconds(r"sampling completed, taking ([\d.]+)s")
    show({
        "size": size,
        "dtype": "f16",
        "load_s": seconds(r"loading tensors completed, taking ([\d.]+)s"),
        "text_s": seconds(r"get_learned_condition completed, taking ([\d.]+)"),
        "unet_step_s": sampled and sampled / steps,
        # After loading, as in diffusers.
        "picture_s": seconds(r"generate_image completed in ([\d.]+)s") if steps == 20 else None,
        "vae_decode_s": seconds(r"decode_first_stage completed, taking ([\d.]+)s"),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6,
    })


command, folder, *rest = sys.argv[1:]
if command == "make":
    make(folder)
elif command == "single":
    single(folder)
elif command == "goldens":
    goldens(folder)
else:
    dtype = torch.bfloat16 if "bf16" in rest else torch.float32
    if command == "picture":
        picture(folder, int(rest[0]), dtype)
    elif command == "cpp":
        cpp(folder, int(rest[0]), int(rest[1]) if len(rest) > 1 else 3)
    else:
        runs = [int(word) for word in rest[1:] if word.isdigit()]
        measure(folder, int(rest[0]), dtype, runs[0] if runs else 5)
