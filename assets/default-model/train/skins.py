"""Says which skin a drawn person has: that of the nearest of the pictures that training showed of that person."""
from collections import Counter
from random import Random

import torch
import torch.nn.functional as F

from captions import article
from compositions import BACKGROUNDS, SLOTS, Painter, Things, held_out
from settings import COLOUR_NAMES, COLOURS

UNNAMED = "yellow"  # the skin of emoji that have no other
SIDE = 32  # pictures are made this small before they are compared, so that a small shift counts for little


def people(things: Things, style: str) -> list[str]:
    """The people that have pictures of more than one skin."""
    has_tones = lambda name: any(things.entries[p]["tone"] for group in things.by_style[style][name].values() for p in group)
    return [name for name in things.lists[style] if has_tones(name)]


def variants(things: Things, style: str, thing: str) -> list[int]:
    return [p for group in things.by_style[style][thing].values() for p in group]


def asked_people(things: Things, count: int, styles: list[str]) -> list[dict]:
    """People on plain backgrounds, half of them with the skin named, in colours that training never showed them on. A style
    whose pictures have no skins, as outlines, is passed over."""
    random, result = Random("people"), []
    styles = [style for style in styles if people(things, style)]
    while len(result) < count:
        style = styles[len(result) % len(styles)]
        thing, colour = random.choice(people(things, style)), random.choice(COLOUR_NAMES)
        if not held_out(thing, colour):
            continue
        entry = things.entries[random.choice(variants(things, style, thing))]
        named = len(result) // len(styles) % 2 == 1
        if named and not entry["tone"]:
            continue
        words = ("" if style == "3d" else style + " ") + entry["english"][0]
        skin = f" with {entry['tone']} skin" if named else ""
        result.append({"style": style, "colour": colour, "things": [thing], "skin": entry["tone"] if named else None,
                       "prompt": f"{article(words)} {words}{skin} on {article(colour)} {colour} background"})
    return result


def renderings(painter: Painter, pictures: list[int], colour: str, place: tuple = (0.9, 0, 0)) -> torch.Tensor:
    """(pictures, 3, size, size) in 0..1: each alone on a plain ground, at `place` (scale, x, y)."""
    count = len(pictures)
    ground = [BACKGROUNDS.index("plain"), *(c / 255 for c in COLOURS[colour] * 2)]
    slots = torch.full((count, SLOTS), -1)
    slots[:, 0] = torch.tensor(pictures)
    places = torch.zeros(count, SLOTS, 4)
    places[:, 0] = torch.tensor([*place, 0.0])
    device = painter.whole.device
    plan = {"pictures": slots, "places": places, "grounds": torch.tensor([ground] * count)}
    return painter.paint({k: v.to(device) for k, v in plan.items()}) / 2 + 0.5


def skins_seen(scenes: list[dict], drawn: torch.Tensor, things: Things, painter: Painter) -> list[str]:
    small = lambda images: F.interpolate(images, (SIDE, SIDE), mode="area").flatten(1)
    result = []
    for scene, picture in zip(scenes, drawn):
        shown = variants(things, scene["style"], scene["things"][0])
        distance = torch.cdist(small(picture[None]), small(renderings(painter, shown, scene["colour"])))[0]
        result.append(things.entries[shown[distance.argmin()]]["tone"] or UNNAMED)
    return result


@torch.no_grad()
def skins_told(things: Things, painter: Painter, vae, style: str, count: int = 120) -> float:
    """How many of the pictures themselves, moved a little and taken through the autoencoder, are told right."""
    random, scenes, right, images = Random(style), [], [], []
    for _ in range(count):
        thing, colour = random.choice(people(things, style)), random.choice(COLOUR_NAMES)
        picture = random.choice(variants(things, style, thing))
        place = (random.uniform(0.85, 0.95), random.uniform(-0.06, 0.06), random.uniform(-0.06, 0.06))
        scenes.append({"style": style, "colour": colour, "things": [thing]})
        right.append(things.entries[picture]["tone"] or UNNAMED)
        images.append(renderings(painter, [picture], colour, place))
    seen = [vae.decode(vae.encode(part * 2 - 1).latent_dist.mean).sample.clamp(-1, 1) / 2 + 0.5
            for part in torch.cat(images).split(30)]
    told = skins_seen(scenes, torch.cat(seen), things, painter)
    return sum(a == b for a, b in zip(told, right)) / count


def judged_people(scenes: list[dict], drawn: torch.Tensor, things: Things, painter: Painter) -> dict:
    seen = skins_seen(scenes, drawn, things, painter)
    named = [(s["skin"], skin) for s, skin in zip(scenes, seen) if s["skin"]]
    return {"pictures": len(scenes), "skin_named_and_seen": sum(a == b for a, b in named) / len(named),
            "skins_where_none_is_named": dict(Counter(skin for s, skin in zip(scenes, seen) if not s["skin"]))}
