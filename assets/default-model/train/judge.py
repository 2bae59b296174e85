"""Asks the model for things that no training picture showed in that colour, and lets the judge say what it sees.

usage: python judge.py WORK_FOLDER --model MODEL_FOLDER [--prompts 500] [--device cuda] [--known] [--styles 3d,flat]
                       [--kinds all,usual,korean,patterned,pairs,counts,people]

WORK_FOLDER holds pictures.zip, pictures.json and classifier.safetensors; receives judged.json and sheets of the first pictures. `--known`
asks for the things of things.toml alone. The prompts are drawn by chance, with fixed seeds, and none is left out:
  all        each thing as likely as the next, each style in turn
  usual      things as often as training shows them (common things more often)
  korean     usual things, asked for in Korean
  patterned  usual things on gradients, stripes and dots, whose colours are not judged
  pairs      two things side by side, in pairs that training never showed together; each half is judged alone
  counts     the same thing twice; each half is judged alone
  people     people, half of them with the skin named; skins are judged by the nearest picture (skins.py)
"""
import json
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel

from captions import KOREAN_STYLES, article, plural
from compositions import PEOPLE, Painter, Things, held_out, load_pictures
from sampling import draw
from settings import COLOUR_NAMES, KOREAN_COLOURS, STYLES
from skins import asked_people, judged_people, skins_told
from tokenizer import load_tokenizer
from train_classifier import halved, load_classifier
from training import arguments_of, log


SHARES = {"all": 1, "usual": 1, "korean": 0.2, "patterned": 0.2, "pairs": 0.2, "counts": 0.2, "people": 0.4}
PATTERNS = ("{first} to {second} gradient", "{first} and {second} striped", "{first} and {second} dotted")


def asked(kind: str, things: Things, count: int, styles: list[str]) -> list[dict]:
    if kind == "people":
        return asked_people(things, count, styles)
    random, result = Random(kind), []
    while len(result) < count:
        style = styles[len(result) % len(styles)]
        names = things.lists[style]
        pick = lambda: things.choose(style, random, random.choice(names) if kind == "all" else "")
        entry, colour = things.entries[pick()], random.choice(COLOUR_NAMES)
        if not held_out(entry["thing"], colour):
            continue
        word = "" if style == "3d" else style + " "
        made = {"style": style, "colour": colour, "things": [entry["thing"]]}
        name = entry["english"][0]
        if kind == "korean":
            word = "" if style == "3d" else KOREAN_STYLES[style] + " "
            made["prompt"] = f"{KOREAN_COLOURS[colour]} 배경의 {word}{entry['korean'][0]}"
        elif kind == "pairs":
            other = things.entries[pick()]
            if not held_out(entry["thing"], other["thing"]):
                continue
            second = other["english"][0]
            made["things"].append(other["thing"])
            made["prompt"] = (f"{article(word + name)} {word}{name} left of {article(second)} {second} "
                              f"on {article(colour)} {colour} background")
        elif kind == "counts":
            if entry["group"] == PEOPLE:
                continue
            made["things"] *= 2
            made["prompt"] = f"two {word}{plural(name)} on {article(colour)} {colour} background"
        elif kind == "patterned":
            second = random.choice([c for c in COLOUR_NAMES if c != colour])
            ground = random.choice(PATTERNS).format(first=colour, second=second)
            made["colour"] = None
            made["prompt"] = f"{article(word + name)} {word}{name} on {article(ground)} {ground} background"
        else:
            made["prompt"] = f"{article(word + name)} {word}{name} on {article(colour)} {colour} background"
        result.append(made)
    return result


def halves(pictures: torch.Tensor) -> list[torch.Tensor]:
    """The left and the right half, each as a square picture whose thing is as large as a single one."""
    side = pictures.shape[-1]
    crops = [pictures[:, :, side // 4:side // 4 + side // 2, at:at + side // 2] for at in (0, side // 2)]
    return [F.interpolate(c, (side, side), mode="bilinear") for c in crops]


@torch.no_grad()
def judged(scenes: list[dict], pictures: torch.Tensor, things: Things, judge, asked_styles: list[str]) -> dict:
    number = lambda i: torch.tensor([things.number[s["things"][i]] for s in scenes], device=pictures.device)
    hits = lambda scores, wanted, top: (scores.topk(top).indices == wanted[:, None]).any(1)
    see = lambda images: [torch.cat(parts) for parts in zip(*(judge(halved(part * 2 - 1)) for part in images.split(100)))]
    scores = see(pictures)
    result = {"pictures": len(scenes)}
    if scenes[0]["colour"]:
        colours = torch.tensor([COLOUR_NAMES.index(s["colour"]) for s in scenes], device=pictures.device)
        result["colour"] = hits(scores[2], colours, 1).float().mean().item()
    if len(scenes[0]["things"]) == 1:
        first, five = hits(scores[0], number(0), 1), hits(scores[0], number(0), 5)
        styles = torch.tensor([STYLES.index(s["style"]) for s in scenes], device=pictures.device)
        result |= {"thing_top1": first.float().mean().item(), "thing_top5": five.float().mean().item(),
                   "style": hits(scores[1], styles, 1).float().mean().item()}
        for style in asked_styles:
            of = styles == STYLES.index(style)
            if not of.any():
                continue
            result[style] = {"thing_top1": first[of].float().mean().item(), "thing_top5": five[of].float().mean().item()}
    else:
        sides = [see(half) for half in halves(pictures)]
        five = [hits(s[0], number(i), 5) for i, s in enumerate(sides)]
        result |= {"one_in_place_top5": torch.stack(five).float().mean().item(),
                   "both_in_place_top5": (five[0] & five[1]).float().mean().item()}
    return result


def sheet(pictures: torch.Tensor, columns: int = 10) -> Image.Image:
    pictures = (F.interpolate(pictures, (128, 128), mode="area") * 255).round().byte().permute(0, 2, 3, 1).cpu()
    columns = min(columns, len(pictures))
    rows = [torch.cat(list(pictures[i:i + columns]), 1) for i in range(0, len(pictures) - columns + 1, columns)]
    return Image.fromarray(torch.cat(rows).numpy())


def main():
    def more(parser):
        parser.add_argument("--model", type=Path, required=True)
        parser.add_argument("--prompts", type=int, default=500)
        parser.add_argument("--known", action="store_true")
        parser.add_argument("--styles", default=",".join(STYLES))
        parser.add_argument("--kinds", default=",".join(SHARES))

    arguments, preset, folder, device = arguments_of(__doc__, more)
    model, styles = arguments.model, arguments.styles.split(",")
    entries = json.loads((folder / "pictures.json").read_text())
    judge, accuracy = load_classifier(folder, device)
    things = Things(entries)
    if arguments.known:
        things.keep({e["thing"] for e in entries if e["weight"] >= 2})
    unet = UNet2DConditionModel.from_pretrained(model / "unet").float().to(device)
    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder").float().to(device)
    vae = AutoencoderKL.from_pretrained(model / "vae").float().to(device)
    tokenizer = load_tokenizer(model / "tokenizer")
    result = {"judge": accuracy}
    for kind in arguments.kinds.split(","):
        scenes = asked(kind, things, int(arguments.prompts * SHARES[kind]), styles)
        pictures = draw([s["prompt"] for s in scenes], range(len(scenes)), unet, text_encoder, vae, tokenizer, device)
        result[kind] = judged(scenes, pictures, things, judge, styles)
        if kind == "people":
            painter = Painter(load_pictures(folder, preset.size)[0], device)
            result[kind] |= judged_people(scenes, pictures, things, painter)
            result[kind]["skins_told_of_pictures"] = {s: skins_told(things, painter, vae, s)
                                                      for s in sorted({scene["style"] for scene in scenes})}
        log(f"{kind}: {json.dumps(result[kind])}")
        sheet(pictures[:60]).save(folder / f"judged-{kind}.jpg", quality=90)
        (folder / f"judged-{kind}.txt").write_text("\n".join(s["prompt"] for s in scenes) + "\n")
    (folder / "judged.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
