"""Trains the text encoder and the UNet together, up to a fixed end time.

usage: python train_unet.py WORK_FOLDER --until 01:35 [--resume]
       python train_unet.py WORK_FOLDER --minutes 100 [--device cuda]

WORK_FOLDER holds pictures.npy and pictures.json (prepare_data.py), vae/ and
tokenizer/. Averaged weights go to WORK_FOLDER/checkpoint every five minutes,
sample sheets to WORK_FOLDER/samples.

On a CPU, start it with these variables, or every large tensor is given back to
the system and faulted in again, which makes each step much slower:
  MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=500000000
"""
import argparse
import datetime
import json
import math
import random
import shutil
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIZE = 128
COLOURS = {
    "white": (255, 255, 255), "black": (16, 16, 18), "red": (214, 48, 49), "green": (64, 160, 72),
    "blue": (52, 110, 220), "yellow": (250, 214, 60), "orange": (245, 146, 40), "purple": (132, 80, 190),
    "pink": (250, 160, 190), "gray": (128, 130, 134), "brown": (130, 88, 54), "cyan": (90, 205, 220),
}
COLOUR_NAMES = list(COLOURS)
PLACEMENTS = 2  # positions and scales of each picture, the same on every colour: fewer to learn
BATCH = 16
LEARNING_RATE = 8e-4
EMPTY_CAPTIONS = 0.1  # for classifier-free guidance
FLAT_SHARE = 0.08
WHITE_SHARE = 0.2
SAMPLE_PROMPTS = [
    "a red apple on a blue background", "a cat on a yellow background", "rocket", "a house on a green background",
    "the sun on a black background", "a fish on a pink background", "flat pizza, white background",
    "a 3d fox on a blue background", "a car on a cyan background", "a tree on an orange background",
    "smiling face with sunglasses on a purple background", "a crown on a red background",
]


def caption(entry: dict, colour: str) -> str:
    """One of the ways to ask for this picture. A flat picture always says so, so
    that a caption without a style means the rounded one; a caption without a
    background means white."""
    wordings = entry["wordings"]
    words = wordings[0] if len(wordings) == 1 or random.random() < 0.6 else random.choice(wordings[1:])
    if entry["style"] == "flat":
        words = random.choice(["flat ", "flat ", "flat cartoon "]) + words
    elif random.random() < 0.3:
        words = "3d " + words
    start = random.random()
    if start < 0.55:
        words = ("an " if words[0] in "aeiou" else "a ") + words
    elif start < 0.6:
        words = "the " + words
    if colour == "white" and random.random() < 0.5:
        return words
    if random.random() < 0.75:
        article = "an" if colour == "orange" and random.random() < 0.7 else "a"
        return f"{words} on {article} {colour} background"
    return f"{words}, {colour} background"


def place(picture: torch.Tensor) -> torch.Tensor:
    """The picture (premultiplied) scaled and shifted a little."""
    scale = random.uniform(0.85, 0.95)
    shift_x, shift_y = random.uniform(-0.06, 0.06), random.uniform(-0.06, 0.06)
    transform = torch.tensor([[[1 / scale, 0, -shift_x / scale], [0, 1 / scale, -shift_y / scale]]])
    grid = F.affine_grid(transform, (1, 4, SIZE, SIZE), align_corners=False)
    return F.grid_sample(picture[None], grid, align_corners=False)[0]


def over(picture: torch.Tensor, colour: str) -> torch.Tensor:
    background = torch.tensor(COLOURS[colour]).float().view(3, 1, 1)
    return (picture[:3] + background * (1 - picture[3:] / 255)) / 127.5 - 1


@torch.no_grad()
def latents(folder: Path, vae: AutoencoderKL, device: str) -> torch.Tensor:
    """(pictures, colours, placements, 4, 16, 16), encoded once and kept on disk."""
    cached = folder / "latents.pt"
    if cached.exists():
        return torch.load(cached)
    pictures = torch.from_numpy(np.load(folder / "pictures.npy")).permute(0, 3, 1, 2).float()
    result = []
    for picture in pictures:
        placed = [place(picture) for _ in range(PLACEMENTS)]
        coloured = torch.stack([over(p, c) for c in COLOUR_NAMES for p in placed])
        encoded = vae.encode(coloured.to(device)).latent_dist.mean * vae.config.scaling_factor
        result.append(encoded.unflatten(0, (len(COLOUR_NAMES), PLACEMENTS)).half().cpu())
    torch.save(torch.stack(result), cached)
    return torch.stack(result)


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=768, num_hidden_layers=3,
        num_attention_heads=6, max_position_embeddings=tokenizer.model_max_length, projection_dim=192,
        hidden_act="quick_gelu", bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id))


def new_unet() -> UNet2DConditionModel:
    """Attention sits at 8x8 and 4x4 only: at 16x16 it costs more time than it is worth here."""
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(96, 160, 192), layers_per_block=1,
        norm_num_groups=16, cross_attention_dim=192, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))


class Shared:
    """Weights, averages and gradients as flat tensors that all processes see.

    Each process computes gradients of its part of the batch on one thread, then updates
    its slice of the weights. Threads within a step would have to meet hundreds of
    times; when other programs use the same cores, that wastes most of the time.
    """

    def __init__(self, count: int, processes: int, device: str):
        make = lambda *shape: torch.zeros(*shape, device=device).share_memory_()
        self.weights, self.averages, self.gradients = make(count), make(count), make(processes, count)
        self.norms, self.losses, self.verdict = make(processes), make(processes), make(2)
        self.barrier = torch.multiprocessing.get_context("spawn").Barrier(processes)


def bind(parameters, shared: Shared, rank: int):
    """Makes every parameter and its gradient a view into the flat tensors."""
    at = 0
    for parameter in parameters:
        part = slice(at, at + parameter.numel())
        if rank == 0:
            shared.weights[part] = parameter.data.flatten()
        parameter.data = shared.weights[part].view_as(parameter)
        parameter.grad = shared.gradients[rank, part].view_as(parameter)
        at += parameter.numel()


@torch.no_grad()
def swap(shared: Shared):
    """Exchanges averages and weights; call it again to undo."""
    kept = shared.weights.clone()
    shared.weights.copy_(shared.averages)
    shared.averages.copy_(kept)


def save(folder: Path, unet, text_encoder, state: dict):
    """Writes beside the old checkpoint first, so that a stop never leaves half of one."""
    new, old = folder / "checkpoint.new", folder / "checkpoint"
    shutil.rmtree(new, ignore_errors=True)
    unet.save_pretrained(new / "unet")
    text_encoder.save_pretrained(new / "text_encoder")
    torch.save(state, new / "state.pt")
    shutil.rmtree(old, ignore_errors=True)
    new.rename(old)


@torch.no_grad()
def sample_sheet(path: Path, unet, text_encoder, vae, encode_text, betas: dict, device: str, guidance=3.0):
    sampler = DDIMScheduler(**betas, timestep_spacing="trailing", clip_sample=False)
    sampler.set_timesteps(20)
    noise = [torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(len(SAMPLE_PROMPTS))]
    x = torch.stack(noise).to(device)
    text = encode_text([""] * len(x) + SAMPLE_PROMPTS)
    for t in sampler.timesteps:
        without, given = unet(torch.cat([x, x]), t, text).sample.chunk(2)
        x = sampler.step(without + guidance * (given - without), t, x).prev_sample
    pictures = vae.decode(x / vae.config.scaling_factor).sample.clamp(-1, 1)
    pictures = ((pictures + 1) * 127.5).permute(0, 2, 3, 1).byte().cpu().numpy()
    rows = [np.concatenate(list(pictures[i:i + 6]), 1) for i in range(0, len(pictures), 6)]
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(path)


def end_time(arguments) -> float:
    if arguments.minutes:
        return time.time() + arguments.minutes * 60
    hour, minute = map(int, arguments.until.split(":"))
    now = datetime.datetime.now()
    end = now.replace(hour=hour, minute=minute, second=0)
    return (end if end > now else end + datetime.timedelta(days=1)).timestamp()


def train(rank: int, processes: int, shared: Shared, arguments, end: float):
    folder, device = arguments.folder, arguments.device
    torch.manual_seed(rank)
    random.seed(rank)
    if device == "cpu":
        torch.set_num_threads(1)
    leader = rank == 0

    entries = json.loads((folder / "pictures.json").read_text())
    by_style = {s: [i for i, e in enumerate(entries) if e["style"] == s] for s in ("3d", "flat")}
    weights = {s: [entries[i]["weight"] for i in chosen] for s, chosen in by_style.items()}
    vae = AutoencoderKL.from_pretrained(folder / "vae").eval().to(device)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    if leader:
        latents(folder, vae, device)
    shared.barrier.wait()
    bank = latents(folder, vae, device).to(device)

    text_encoder, unet = new_text_encoder(tokenizer).to(device), new_unet().to(device)
    bind(list(unet.parameters()) + list(text_encoder.parameters()), shared, rank)
    share = math.ceil(len(shared.weights) / processes)
    mine = slice(rank * share, (rank + 1) * share)
    state = {"step": 0, "start": time.time(), "loss": 1.0}
    if arguments.resume:
        state = torch.load(folder / "checkpoint/state.pt", map_location=device)
        if leader:
            shared.weights.copy_(state["weights"])
            shared.averages.copy_(state["averages"])
    elif leader:
        shared.averages.copy_(shared.weights)
    shared.barrier.wait()
    slice_of_weights = torch.nn.Parameter(shared.weights[mine])
    slice_of_weights.data = shared.weights[mine]
    optimizer = torch.optim.AdamW([slice_of_weights], lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    moments = folder / f"optimizer-{rank}.pt"
    if arguments.resume and moments.exists():
        optimizer.load_state_dict(torch.load(moments, map_location=device))
    if leader:
        print("latents", tuple(bank.shape), f"deviation {bank.float().std():.3f};",
              f"unet {sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M,",
              f"text encoder {sum(p.numel() for p in text_encoder.parameters()) / 1e6:.2f} M", flush=True)

    betas = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear",
                 prediction_type="v_prediction")
    scheduler = DDPMScheduler(**betas)
    signal = scheduler.alphas_cumprod.to(device)

    @lru_cache(maxsize=None)
    def tokens(text: str) -> tuple:
        return tuple(tokenizer(text, padding="max_length", truncation=True).input_ids)

    def encode_text(captions):
        return text_encoder(torch.tensor([tokens(c) for c in captions], device=device))[0]

    start, first_step, step, running = state["start"], state["step"], state["step"], state["loss"]
    began, count = time.time(), BATCH // processes
    next_save, next_sheet, last_log = began + 300, began + 300, (began, step)
    while True:
        # The rate follows the clock, so that it reaches its end however fast or slow the steps are.
        progress = (time.time() - start) / (end - start)
        rate = LEARNING_RATE * min(1, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1, progress))))
        optimizer.param_groups[0]["lr"] = rate

        captions, chosen = [], []
        for _ in range(count):
            style = "flat" if random.random() < FLAT_SHARE else "3d"
            picture = random.choices(by_style[style], weights[style])[0]
            colour = "white" if random.random() < WHITE_SHARE else random.choice(COLOUR_NAMES)
            chosen.append(bank[picture, COLOUR_NAMES.index(colour), random.randrange(PLACEMENTS)])
            captions.append("" if random.random() < EMPTY_CAPTIONS else caption(entries[picture], colour))
        x = torch.stack(chosen).float()
        # Times spread evenly over each batch, leaning to the less noisy half, where shapes are decided.
        spread = (torch.randperm(count, device=device) + torch.rand(count, device=device)) / count
        t = (spread ** 1.25 * 1000).long().clamp(max=999)
        noise = torch.randn_like(x)
        noisy, target = scheduler.add_noise(x, noise, t), scheduler.get_velocity(x, noise, t)
        with torch.autocast(device, dtype=torch.bfloat16):
            output = unet(noisy, t, encode_text(captions)).sample
        # Min-SNR weighting (gamma 5) of the v-prediction loss: fine noise at the clean end counts less.
        ratio = signal[t] / (1 - signal[t])
        weight = (ratio + 1).clamp(max=5) / (ratio + 1)
        loss = (((output.float() - target) ** 2).mean((1, 2, 3)) * weight).mean()
        shared.gradients[rank].zero_()
        loss.backward()
        shared.losses[rank] = loss.detach()
        shared.barrier.wait()  # all gradients are there

        with torch.no_grad():
            gradient = shared.gradients[:, mine].mean(0)
            shared.norms[rank] = gradient.square().sum()
            shared.barrier.wait()  # all norms are there
            norm = shared.norms.sum().sqrt().item()
            slice_of_weights.grad = gradient * min(1.0, 1.0 / (norm + 1e-6))
            optimizer.step()
            decay = min(0.998, (1 + step) / (10 + step))
            shared.averages[mine].lerp_(shared.weights[mine], 1 - decay)
        step += 1
        running += max(0.01, 1 / step) * (shared.losses.mean().item() - running)
        finished = time.time() >= end
        saving = time.time() > next_save or finished
        if leader:
            shared.verdict[0], shared.verdict[1] = finished, saving  # the leader's clock decides for all
        shared.barrier.wait()  # all weights are new
        finished, saving = (value > 0 for value in shared.verdict.tolist())

        if saving:
            torch.save(optimizer.state_dict(), moments)
            next_save = time.time() + 300
        if leader and (step in (5, 20, 50) or step % 100 == 0):
            seconds, steps = time.time() - last_log[0], step - last_log[1]
            last_log = (time.time(), step)
            print(f"{step} {time.strftime('%H:%M:%S')} loss {running:.4f} rate {rate:.2e} "
                  f"{steps * BATCH / seconds:.1f} samples/s, {step * BATCH} in all", flush=True)
        if leader and saving:
            current = shared.weights.clone()
            swap(shared)
            save(folder, unet, text_encoder, {"step": step, "start": start, "loss": running,
                                              "weights": current, "averages": shared.weights.clone()})
            if finished or time.time() > next_sheet:
                name = "final" if finished else time.strftime("%H%M")
                sample_sheet(folder / "samples" / f"{name}.png", unet, text_encoder, vae, encode_text, betas, device)
                next_sheet = time.time() + 595
            swap(shared)
        if saving:
            shared.barrier.wait()  # weights are back in place
        if finished:
            break
    if leader:
        print(f"done: {step} steps, {step * BATCH} samples, loss {running:.4f}, "
              f"{(step - first_step) * BATCH / (time.time() - began):.1f} samples/s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--until", default="")
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=0, help="one a core on a CPU, one on a GPU")
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    processes = arguments.processes or (2 if arguments.device == "cpu" else 1)
    tokenizer = CLIPTokenizer.from_pretrained(arguments.folder / "tokenizer")
    count = sum(p.numel() for module in (new_unet(), new_text_encoder(tokenizer)) for p in module.parameters())
    shared, end = Shared(count, processes, arguments.device), end_time(arguments)
    others = [torch.multiprocessing.get_context("spawn").Process(
        target=train, args=(rank, processes, shared, arguments, end), daemon=True) for rank in range(1, processes)]
    for other in others:
        other.start()
    train(0, processes, shared, arguments, end)
    for other in others:
        other.join()


if __name__ == "__main__":
    main()
