"""Teaches a model that knows English captions to read Korean ones, and leaves what it does with English exactly as it is.

usage: python add_korean.py MODEL_FOLDER WORK_FOLDER --minutes 10 [--device cuda]

Each Korean word of the captions becomes a token of its own at the end of the vocabulary; the new merges come
after those that English uses. A new token starts as the mean of the English tokens that it stands for. Then the new
rows of the token embedding alone are trained, so that the UNet, given a Korean caption, predicts what it predicts for
the English one. MODEL_FOLDER (an exported model) is the model to teach; WORK_FOLDER holds pictures.zip and
pictures.json and receives `taught/`, with text_encoder/ and tokenizer/ in place of the old ones.
"""
import shutil
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel

from captions import COLOUR_WORDS, KOREAN_STYLES, article, meanings
from compositions import Painter, known, load_pictures, part, plan, single
from fills import all_hole
from sampling import BETAS
from settings import COLOUR_NAMES
from tokenizer import load_tokenizer, teach_words
from training import Schedule, arguments_of, log, quick_bfloat16

TEMPLATES = ("{colour} 배경의 {thing}", "{thing}, {colour} 배경", "{colour} 배경에 {thing}", "{colour} 배경 위의 {thing}",
             "{colour} 배경에 있는 {thing}")


def pair(entry: dict, colour: str, random: Random) -> tuple[str, str]:
    """The same request in Korean and in English."""
    flat = entry["style"] == "flat"
    name = entry["english"][0]
    hangul = entry["korean"][0] if random.random() < 0.6 else random.choice(entry["korean"])
    if flat:
        name, hangul = f"flat {name}", f"{KOREAN_STYLES['flat']} {hangul}"
    elif random.random() < 0.15:
        name, hangul = f"3d {name}", f"{KOREAN_STYLES['3d']} {hangul}"
    name = f"{article(name)} {name}"
    if colour == "white" and random.random() < 0.5:
        return hangul, name
    korean = random.choice(TEMPLATES).format(colour=random.choice(COLOUR_WORDS[colour]), thing=hangul)
    return korean, f"{name} on {article(colour)} {colour} background"


def main():
    def more(parser):
        parser.add_argument("work", type=Path)
        parser.add_argument("--scenes", type=int, default=2048)
        parser.add_argument("--batch", type=int, default=16)

    arguments, _, model, device = arguments_of(__doc__, more)
    work, random = arguments.work, Random(0)
    unet = UNet2DConditionModel.from_pretrained(model / "unet").float().eval().requires_grad_(False).to(device)
    vae = AutoencoderKL.from_pretrained(model / "vae").float().eval().requires_grad_(False).to(device)
    teacher = CLIPTextModel.from_pretrained(model / "text_encoder").float().eval().requires_grad_(False).to(device)
    old = load_tokenizer(model / "tokenizer")
    pictures, entries = known(*load_pictures(work, vae.config.sample_size), ("3d", "flat"))
    hangul = {word: meaning for word, meaning in meanings(entries).items() if not word.isascii()}
    taught = work / "taught"
    shutil.copytree(model / "tokenizer", taught / "tokenizer", dirs_exist_ok=True)
    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder").float()
    new = teach_words(text_encoder, taught / "tokenizer", hangul)
    text_encoder.eval().requires_grad_(False).to(device)
    rows = text_encoder.text_model.embeddings.token_embedding.weight.requires_grad_(True)
    count = len(old)
    log(f"{len(new) - count} new tokens for {len(hangul)} words")

    scenes = plan(entries, None, arguments.scenes, seed=7, make=single)
    painter, bank = Painter(pictures, device), []
    for at in range(0, arguments.scenes, 32):
        z = vae.encode(painter.paint(part(scenes, slice(at, at + 32), device))).latent_dist.mean
        bank.append(z * vae.config.scaling_factor)
    bank, plain = torch.cat(bank), torch.nonzero(scenes["labels"][:, 2] >= 0)[:, 0].tolist()
    with torch.no_grad():
        beside = all_hole(arguments.batch, unet, vae)
    signal = DDPMScheduler(**BETAS).alphas_cumprod.to(device)
    ids = lambda tokenizer, texts: torch.tensor(tokenizer(texts, padding="max_length", truncation=True).input_ids, device=device)
    optimizer = torch.optim.Adam([rows], lr=3e-3)
    schedule, running = Schedule(arguments, warm_up=20), None
    while schedule.running():
        optimizer.param_groups[0]["lr"] = 3e-3 * schedule.rate()
        chosen = random.sample(plain, arguments.batch)
        korean, english = zip(*(pair(entries[scenes["pictures"][i, 0]], COLOUR_NAMES[scenes["labels"][i, 2]], random) for i in chosen))
        t = (torch.rand(len(chosen), device=device) ** 0.7 * 1000).long().clamp(max=999)  # words matter while noise is strong
        a, x = signal[t].view(-1, 1, 1, 1), bank[chosen]
        noisy = torch.cat([a.sqrt() * x + (1 - a).sqrt() * torch.randn_like(x), beside], 1)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=quick_bfloat16(device)):
            with torch.no_grad():
                wanted = unet(noisy, t, teacher(ids(old, list(english)))[0]).sample
            got = unet(noisy, t, text_encoder(ids(new, list(korean)))[0]).sample
        loss = ((got.float() - wanted.float()) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        rows.grad[:count] = 0  # what English is read with stays as it is
        optimizer.step()
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if schedule.step in (1, 10) or schedule.step % 50 == 0:
            log(f"step {schedule.step}, difference {running:.5f}")
    original = teacher.text_model.embeddings.token_embedding.weight
    assert torch.equal(rows[:count], original), "the rows of English changed"
    text_encoder.half().save_pretrained(taught / "text_encoder")


if __name__ == "__main__":
    main()
