"""Trains the text encoder and the UNet together.

usage: python train_unet.py WORK_FOLDER --minutes 6 [--device cuda] [--preset small] [--from 0 --to 1] [--compile]
                            [--start MODEL_FOLDER] [--known 3d,flat] [--kinds middle=1] [--fills 0.5]
                            [--rate 4e-4]

WORK_FOLDER holds pictures.zip, pictures.json, vae/ and tokenizer/. Averaged weights go to WORK_FOLDER/checkpoint, from
which a further run goes on; sample sheets to WORK_FOLDER/samples. `--from` and `--to` say which part of the whole
training this run is, so that the learning rate of a training in several runs falls once. `--start` copies weights,
autoencoder and tokenizer of an exported model into WORK_FOLDER first, to teach that model more, and gives the words of
the captions that it has no tokens for tokens of their own; `--known` shows it the things of things.toml alone, in the
styles named; `--kinds` says which kinds of scenes (compositions.py) it is shown, and how often (`middle=4,pair=1`), `--fills`
which part of what it is shown are fills.
"""
import shutil
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from compositions import CAPTIONS, KINDS, SHARES, Painter, known, load_pictures, part, plan, scene
from captions import meanings
from fills import all_hole, conditions, fill, paint_holes
from sampling import BETAS, draw
from settings import TOKENS
from tokenizer import load_tokenizer, teach_words
from training import Average, Schedule, arguments_of, log, quick_bfloat16

EMPTY_CAPTIONS = 0.1  # for classifier-free guidance
MOST_SPOILT = 50
SAMPLE_PROMPTS = [
    "a red apple on a blue background", "a cat on a yellow background", "rocket", "a house on a green background",
    "the sun on a black background", "a flat pizza on a white background", "a cartoon fox on a blue background",
    "an outline car on a cyan background", "a cat left of a house on a pink background", "three apples",
    "분홍색 배경의 강아지", "a woman scientist on an orange background",
]


def new_text_encoder(preset, tokenizer) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=preset.text_width, intermediate_size=4 * preset.text_width,
        num_hidden_layers=preset.text_layers, num_attention_heads=preset.text_heads, max_position_embeddings=TOKENS,
        projection_dim=preset.text_width, hidden_act="quick_gelu", bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))


def new_unet(preset) -> UNet2DConditionModel:
    """Attention from half the latents' size downwards: at their full size it costs more than it is worth here."""
    return UNet2DConditionModel(
        sample_size=preset.size // 8, in_channels=9, out_channels=4, block_out_channels=preset.unet_channels,
        layers_per_block=1, norm_num_groups=16, cross_attention_dim=preset.text_width, attention_head_dim=preset.unet_heads,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))


@torch.no_grad()
def encode(scenes: dict, painter: Painter, vae: AutoencoderKL, device: str, fills: bool) -> torch.Tensor:
    """(scenes, 4 or 9, size / 8, size / 8): the latents of every scene, and of fills what the UNet is shown beside them."""
    result, count = [], 128 if device != "cpu" else 16
    for at in range(0, len(scenes["labels"]), count):
        some = part(scenes, slice(at, at + count), device)
        x = painter.paint(some).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device != "cpu"):
            z = [vae.encode(x).latent_dist.mean * vae.config.scaling_factor]
            if fills:
                z.append(conditions(x, paint_holes(some["holes"], painter.size), vae))
        result.append(torch.cat(z, 1).half())
    return torch.cat(result)


def widened(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same UNet with nine input channels; it pays no heed to the new ones yet."""
    narrow = unet.conv_in
    if narrow.in_channels == 4:
        unet.conv_in = torch.nn.Conv2d(9, narrow.out_channels, narrow.kernel_size, padding=narrow.padding)
        unet.register_to_config(in_channels=9)
        with torch.no_grad():
            unet.conv_in.weight.zero_()[:, :4] = narrow.weight
            unet.conv_in.bias.copy_(narrow.bias)
    return unet


def start_from(model: Path, folder: Path, words: dict[str, str]):
    """The parts of a model, in float32 where they are trained, where a training finds them."""
    widened(UNet2DConditionModel.from_pretrained(model / "unet").float()).save_pretrained(folder / "checkpoint/unet")
    for name in ("vae", "tokenizer"):
        shutil.copytree(model / name, folder / name, dirs_exist_ok=True)
    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder").float()
    teach_words(text_encoder, folder / "tokenizer", words)
    text_encoder.save_pretrained(folder / "checkpoint/text_encoder")


def kinds_of(text: str) -> dict[str, float]:
    """Kinds of scenes and their shares, from `middle=4,pair=1`."""
    kinds = {kind: float(share) for kind, share in (part.split("=") for part in text.split(","))}
    if unknown := [k for k in kinds if k not in KINDS]:
        raise SystemExit(f"--kinds: no such kind of scene: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return kinds


def save(folder: Path, unet, text_encoder):
    """Written beside and moved, so that a break leaves the old checkpoint or the new one."""
    part_written = folder / "checkpoint.new"
    shutil.rmtree(part_written, ignore_errors=True)
    unet.save_pretrained(part_written / "unet")
    text_encoder.save_pretrained(part_written / "text_encoder")
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    part_written.rename(folder / "checkpoint")


def sample_sheet(path: Path, unet, text_encoder, vae, tokenizer, device: str):
    pictures = draw(SAMPLE_PROMPTS, range(len(SAMPLE_PROMPTS)), unet, text_encoder, vae, tokenizer, device)
    pictures = (pictures * 255).round().byte().permute(0, 2, 3, 1).cpu()
    rows = [torch.cat(list(pictures[i:i + 6]), 1) for i in range(0, len(pictures), 6)]
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(torch.cat(rows).numpy()).save(path)


def main():
    def more(parser):
        parser.add_argument("--from", type=float, default=0, dest="begin")
        parser.add_argument("--to", type=float, default=1, dest="end")
        parser.add_argument("--compile", action="store_true", help="compile the UNet first: a minute, then faster steps")
        parser.add_argument("--scenes", type=int, default=0, help="another number of scenes, to try things out")
        parser.add_argument("--save-minutes", type=float, default=5)
        parser.add_argument("--start", type=Path)
        parser.add_argument("--known", default="", metavar="STYLES")
        parser.add_argument("--kinds", type=kinds_of, default=SHARES)
        parser.add_argument("--fills", type=float, default=1 / 3)
        parser.add_argument("--rate", type=float, default=0, help="another learning rate")

    arguments, preset, folder, device = arguments_of(__doc__, more)
    checkpoint, rate = folder / "checkpoint", arguments.rate or preset.learning_rate
    pictures, entries = load_pictures(folder, preset.size)
    if arguments.known:
        pictures, entries = known(pictures, entries, tuple(arguments.known.split(",")))
    if arguments.start and not checkpoint.exists():
        start_from(arguments.start, folder, meanings(entries))
    tokenizer = load_tokenizer(folder / "tokenizer")
    count = arguments.scenes or preset.compositions
    holes = round(count * arguments.fills / (1 - arguments.fills))
    make = lambda things, random: scene(things, random, arguments.kinds)
    scenes, fills = plan(entries, tokenizer, count, seed=5, make=make), plan(entries, tokenizer, holes, seed=6, make=fill)
    vae = AutoencoderKL.from_pretrained(folder / "vae").eval().requires_grad_(False)
    vae.to(device, memory_format=torch.channels_last)
    began = time.time()
    painter = Painter(pictures, device)
    drawn, filled = encode(scenes, painter, vae, device, False), encode(fills, painter, vae, device, True)
    log(f"{count} scenes and {holes} fills encoded in {time.time() - began:.0f} s, deviation {drawn.float().std():.3f}")
    tokens = torch.cat([scenes["tokens"], fills["tokens"]]).to(device, torch.int32)

    text_encoder = CLIPTextModel.from_pretrained(checkpoint / "text_encoder") if checkpoint.exists() else new_text_encoder(preset, tokenizer)
    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet") if checkpoint.exists() else new_unet(preset)
    text_encoder.to(device).train()
    unet.to(device, memory_format=torch.channels_last).train()
    with torch.no_grad():
        grey = all_hole(1, unet, vae)
    bank = torch.cat([torch.cat([drawn, grey.half().expand(count, -1, -1, -1)], 1), filled])
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    log(f"unet {sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M, "
        f"text encoder {sum(p.numel() for p in text_encoder.parameters()) / 1e6:.2f} M, of {len(tokenizer)} tokens")
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    average = Average(parameters, 0.998)
    scheduler = DDPMScheduler(**BETAS)
    signal = scheduler.alphas_cumprod.to(device)
    empty = torch.tensor(tokenizer("", padding="max_length").input_ids, device=device, dtype=torch.int32)
    forward = torch.compile(unet) if arguments.compile else unet
    schedule = Schedule(arguments, warm_up=150, begin=arguments.begin, end=arguments.end)
    size, running, last, spoilt = preset.unet_batch, 1.0, (time.time(), 0), 0
    next_save = time.time() + arguments.save_minutes * 60
    while schedule.running():
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule.rate()
        chosen = torch.randint(len(bank), (size,), device=device)
        x, beside = bank[chosen].float().split((4, 5), 1)
        ids = tokens[chosen, torch.randint(CAPTIONS, (size,), device=device)]
        dropped = (torch.rand(size, device=device) < EMPTY_CAPTIONS) & (chosen < count)
        ids = torch.where(dropped[:, None], empty, ids).long()
        # Times spread evenly over each batch, leaning to the less noisy half, where shapes are decided.
        spread = (torch.randperm(size, device=device) + torch.rand(size, device=device)) / size
        t = (spread ** 1.15 * 1000).long().clamp(max=999)
        noise = torch.randn_like(x)
        a = signal[t].view(-1, 1, 1, 1)
        noisy, target = a.sqrt() * x + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x
        with torch.autocast(device, dtype=torch.bfloat16, enabled=quick_bfloat16(device)):
            output = forward(torch.cat([noisy, beside], 1).contiguous(memory_format=torch.channels_last), t, text_encoder(ids)[0], return_dict=False)[0]
        # Min-SNR weighting, gamma 5 (Hang et al. 2023), of the v-prediction loss: fine noise at the clean end counts less.
        ratio = signal[t] / (1 - signal[t])
        weight = (ratio + 1).clamp(max=5) / (ratio + 1)
        loss = (((output.float() - target) ** 2).mean((1, 2, 3)) * weight).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        if not torch.isfinite(norm):  # one such step would spoil every weight, and the averages with them
            spoilt += 1
            log(f"unet step {schedule.step}: the gradients are not finite (time {spoilt}); left out")
            if spoilt > MOST_SPOILT:
                raise SystemExit("too many steps without finite gradients: lower the learning rate")
            continue
        optimizer.step()
        average.update()
        if schedule.step in (2, 5, 20) or schedule.step % 100 == 0:
            running = loss.item() if running == 1.0 else 0.8 * running + 0.2 * loss.item()
            speed = (schedule.step - last[1]) * size / (time.time() - last[0])
            last = (time.time(), schedule.step)
            log(f"unet step {schedule.step}, loss {running:.4f}, {speed:.0f} samples/s, {schedule.step * size} in all")
        if time.time() > next_save:
            average.swap()
            save(folder, unet, text_encoder)
            sample_sheet(folder / "samples" / f"{schedule.step:06}.png", unet, text_encoder, vae, tokenizer, device)
            average.swap()
            next_save = time.time() + arguments.save_minutes * 60
    average.swap()
    save(folder, unet, text_encoder)
    sample_sheet(folder / "samples" / "last.png", unet, text_encoder, vae, tokenizer, device)
    log(f"{schedule.step} steps, {schedule.step * size} samples")


if __name__ == "__main__":
    main()
