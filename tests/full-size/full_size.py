#!/usr/bin/env python3
"""A full-size Stable Diffusion 1.5 with random weights: tiny networks never reach the paths for large tensors.

usage: full_size.py make FOLDER              writes FOLDER/checkpoint (Hugging Face layout, f16, 2.1 GB)
       full_size.py single FOLDER            writes FOLDER/single.safetensors: the same weights as one file
       full_size.py goldens FOLDER           writes FOLDER/goldens.safetensors: what diffusers computes, f32, CPU
       full_size.py time FOLDER SIZE [bf16]  times diffusers on two threads, f32 or bf16; prints one JSON object

Needs tests/fixtures/requirements.txt. For `time`, nothing else may run.
"""
import json
import os
import resource
import shutil
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


def single(folder):
    """Names are those of the tiny single file, which has the same layout."""
    parts = {
        part: load_file(f"{folder}/checkpoint/{part}/{stem}.safetensors")
        for part, stem in (("text_encoder", "model"), ("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"))
    }
    older = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
    tensors = {}
    for line in open(f"{FIXTURES}/../single-files/sd15-tiny.tsv").read().splitlines()[1:]:
        name, source = line.split("\t")
        part, _, key = source.split(" ")[-1].partition(":")
        for old, new in older.items():
            key = key.replace(old, new)
        if part in parts and key in parts[part]:
            tensor = parts[part][key]
            tensors[name] = tensor[:, :, None, None].contiguous() if source.startswith("4 ") else tensor
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


def measure(folder, size, dtype):
    start = time.perf_counter()
    pipeline = load(folder, dtype)
    loaded = time.perf_counter() - start
    ids = tokens(pipeline)
    text = pipeline.text_encoder(ids)[0]
    side = size // 8
    sample = torch.randn(2, 4, side, side, dtype=dtype)
    latents = torch.randn(1, 4, side, side, dtype=dtype)
    result = {
        "size": size,
        "dtype": str(dtype).removeprefix("torch."),
        "load_s": loaded,
        "text_s": median_seconds(lambda: pipeline.text_encoder(ids), 3),
        "unet_step_s": median_seconds(lambda: pipeline.unet(sample, 500, text), 5 if size <= 256 else 3),
        "vae_decode_s": median_seconds(lambda: pipeline.vae.decode(latents), 3 if size <= 256 else 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()}))


command, folder, *rest = sys.argv[1:]
if command == "make":
    make(folder)
elif command == "single":
    single(folder)
elif command == "goldens":
    goldens(folder)
else:
    measure(folder, int(rest[0]), torch.bfloat16 if rest[1:] == ["bf16"] else torch.float32)
