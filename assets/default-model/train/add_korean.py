"""Teaches a model that knows English captions to read Korean ones, and leaves what it does with English exactly as it is.

usage: python add_korean.py MODEL_FOLDER WORK_FOLDER --minutes 10 [--device cuda]

Each Korean word of the captions becomes a token of its own at the end of the vocabulary; the new merges join bytes
that English has no use for. A new token starts as the mean of the English tokens that it stands for. Then the new
rows of the token embedding alone are trained, so that the UNet, given a Korean caption, predicts what it predicts for
the English one. MODEL_FOLDER (an exported model) is the model to teach; WORK_FOLDER holds pictures.zip and
pictures.json and receives `taught/`, with text_encoder/ and tokenizer/ in place of the old ones.
"""
import json
import shutil
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizerFast

from captions import KOREAN_STYLES, article
from compositions import Painter, known, load_pictures, part, plan, single
from fills import all_hole
from sampling import BETAS
from settings import COLOUR_NAMES
from tokenizer import learned_merges, load_tokenizer
from training import Schedule, arguments_of, log

COLOUR_WORDS = {
    "white": ("하얀색", "하얀", "흰색", "흰"), "black": ("검은색", "검은", "검정"), "red": ("빨간색", "빨간", "빨강"),
    "green": ("초록색", "초록", "녹색"), "blue": ("파란색", "파란", "파랑"), "yellow": ("노란색", "노란", "노랑"),
    "orange": ("주황색", "주황"), "purple": ("보라색", "보라"), "pink": ("분홍색", "분홍", "핑크색"), "gray": ("회색",),
    "brown": ("갈색",), "cyan": ("하늘색", "청록색"),
}
TEMPLATES = ("{colour} 배경의 {thing}", "{thing}, {colour} 배경", "{colour} 배경에 {thing}", "{colour} 배경 위의 {thing}",
             "{colour} 배경에 있는 {thing}")
SMALL_WORDS = {"배경": "background", "배경의": "background", "배경에": "on a background", "위의": "on", "있는": "a"}


def dictionary(entries: list[dict]) -> dict[str, str]:
    """Each Korean word with the English words that it stands for."""
    meaning = {}
    for entry in entries:
        for name in entry["korean"]:
            for word in name.split():
                meaning.setdefault(word, entry["english"][0])
    for colour, words in COLOUR_WORDS.items():
        meaning |= dict.fromkeys(words, colour)
    meaning |= {KOREAN_STYLES["3d"]: "3d", KOREAN_STYLES["flat"]: "flat", "얼굴": "face"}
    return meaning | SMALL_WORDS


def extend_tokenizer(source: Path, target: Path, words: list[str]) -> CLIPTokenizerFast:
    """Appends merges until each word is one token, and their results to the vocabulary."""
    vocabulary = json.loads((source / "vocab.json").read_text())
    lines = (source / "merges.txt").read_text().splitlines()
    known = set(lines)
    merges = [m for m in learned_merges(words, at_least=1, most=20000) if " ".join(m) not in known]
    for first, second in merges:
        vocabulary.setdefault(first + second, len(vocabulary))
    shutil.copytree(source, target, dirs_exist_ok=True)
    (target / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=2) + "\n")
    (target / "merges.txt").write_text("\n".join(lines + [" ".join(m) for m in merges]) + "\n")
    tokenizer = load_tokenizer(target)
    parts = [w for w in words if len(tokenizer(w).input_ids) != 3]
    assert not parts, f"not one token: {parts}"
    return tokenizer


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
    meaning = dictionary(entries)
    taught = work / "taught"
    new = extend_tokenizer(model / "tokenizer", taught / "tokenizer", sorted(meaning))

    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder").float()
    text_encoder.resize_token_embeddings(len(new), mean_resizing=False)
    text_encoder.eval().requires_grad_(False).to(device)
    rows = text_encoder.text_model.embeddings.token_embedding.weight
    count = len(old)
    with torch.no_grad():
        for word, english in meaning.items():
            rows[new(word).input_ids[1]] = rows[old(english).input_ids[1:-1]].mean(0)
    rows.requires_grad_(True)
    log(f"{len(new) - count} new tokens for {len(meaning)} words")

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
        with torch.autocast(device, dtype=torch.bfloat16):
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
