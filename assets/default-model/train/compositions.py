"""Scenes of one to four things on a background: planned on the processor, painted on the device.

A plan is a set of arrays (`plan`), so that pictures, captions and labels of a scene stay together. Scenes on plain
backgrounds leave out the pairs of thing and colour (and of two things) that `held_out` names: those are asked for
when the model is judged, and no training picture shows them.
"""
import io
import json
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from captions import CORNERS, TONE_NAMED, caption
from settings import COLOUR_NAMES, COLOURS, STYLES

SLOTS = 4
CAPTIONS = 6  # ways to ask for each scene
STYLE_SHARES = {"3d": 0.46, "flat": 0.2, "cartoon": 0.2, "outline": 0.14}
# What scenes show: one thing, large and in the middle of a plain ground (middle) or of a gradient or a pattern
# (patterned); anywhere and mirrored at times (single); small in a corner; two things; three in a row; the same thing two
# to four times.
KINDS = ("middle", "patterned", "single", "corner", "pair", "row", "count")
SHARES = {"single": 0.71, "corner": 0.05, "pair": 0.13, "row": 0.03, "count": 0.08}
PEOPLE = 1  # the group of people among the emoji
BACKGROUNDS = ("plain", "falling", "sideways", "stripes", "dots", "mottled")
MOTTLES = 16  # patterns of the mottled ground, which is seen around fills alone
WHOLE = (0.0, 0.0, 0.0, 2.0, 2.0)  # the hole of a picture that is drawn from nothing
ONE_WAY = ("left", "right", "arrow", "clockwise", "abc", "abcd", "1234", "letter", "calendar", "book", "ok")


def load_pictures(folder: Path, size: int) -> tuple[torch.Tensor, list[dict]]:
    """(N, 4, size, size) bytes, premultiplied, and their entries."""
    entries = json.loads((folder / "pictures.json").read_text())
    with zipfile.ZipFile(folder / "pictures.zip") as archive:
        files = [archive.read(n) for n in sorted(archive.namelist())]

    def decode(data: bytes) -> np.ndarray:
        picture = Image.open(io.BytesIO(data)).convert("RGBA").convert("RGBa")
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.BOX)
        return np.asarray(picture).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        return torch.from_numpy(np.stack(list(pool.map(decode, files)))), entries


def known(pictures: torch.Tensor, entries: list[dict], styles: tuple[str, ...]) -> tuple[torch.Tensor, list[dict]]:
    """Of these pictures the things that things.toml names, in some styles."""
    kept = [i for i, e in enumerate(entries) if e["weight"] >= 2 and e["style"] in styles]
    return pictures[kept], [entries[i] for i in kept]


def held_out(*words: str) -> bool:
    """True for one combination in twelve."""
    return zlib.crc32("|".join(words).encode()) % 12 == 0


class Things:
    """The things, and the pictures of each by style."""

    def __init__(self, entries: list[dict]):
        self.entries = entries
        self.names = sorted({e["thing"] for e in entries})
        self.number = {n: i for i, n in enumerate(self.names)}
        self.by_style = {}
        for i, entry in enumerate(entries):
            kinds = self.by_style.setdefault(entry["style"], {}).setdefault(entry["thing"], {})
            kinds.setdefault(entry["symbol"], []).append(i)  # a symbol has one gender; its pictures differ in skin tone
        self.weights = {s: list(accumulate(self.single_weights(s))) for s in self.by_style}
        self.lists = {s: list(kinds) for s, kinds in self.by_style.items()}

    def keep(self, names: set[str]):
        """From now on `choose` draws from these things alone."""
        for style, kinds in self.by_style.items():
            kept = [(t, w) for t, w in zip(self.lists[style], self.single_weights(style)) if t in names]
            self.lists[style], self.weights[style] = [t for t, _ in kept], list(accumulate(w for _, w in kept))

    def single_weights(self, style: str) -> list[float]:
        return [max(self.entries[p]["weight"] for group in kinds.values() for p in group)
                for kinds in self.by_style[style].values()]

    def choose(self, style: str, random: Random, thing: str = "") -> int:
        """A picture: the thing by its weight, then each gender and each skin tone alike. The yellow of emoji, which has no
        name, is rarer by the captions that name the others: without a word each is as likely as the next."""
        thing = thing or random.choices(self.lists[style], cum_weights=self.weights[style])[0]
        pictures = random.choice(list(self.by_style[style][thing].values()))
        if len(pictures) == 1:
            return pictures[0]
        return random.choices(pictures, [1 if self.entries[p]["tone"] else 1 - TONE_NAMED for p in pictures])[0]


def background(random: Random, thing: str, plain: float = 80) -> dict:
    first, second = random.sample(COLOUR_NAMES, 2)
    kind = random.choices(BACKGROUNDS, (plain, 6, 5, 5, 4, 0))[0]
    if kind == "plain":
        second = first
        if random.random() < 0.12:
            first = second = "white"
        while held_out(thing, first):
            first = second = random.choice(COLOUR_NAMES)
    return {"kind": kind, "first": first, "second": second}


def another(things: Things, style: str, random: Random, beside: list[str]) -> int:
    """A picture of a thing that is not one of those and may be seen beside them."""
    while True:
        picture = things.choose(style, random)
        thing = things.entries[picture]["thing"]
        if thing not in beside and not any(held_out(other, thing) for other in beside):
            return picture


def scene(things: Things, random: Random, kinds: dict[str, float] = SHARES) -> dict:
    """One of `kinds`, by their shares: entries, pictures, placements (scale, x, y, mirrored), relation, count, corner and background of a scene.
    x and y are the centre in -1..1; a scale of 1 fills the picture."""
    shares = {s: share for s, share in STYLE_SHARES.items() if s in things.by_style}
    style = random.choices(list(shares), list(shares.values()))[0]
    first = things.choose(style, random)
    entry = things.entries[first]
    kind = random.choices(list(kinds), list(kinds.values()))[0]
    if kind == "count" and entry["group"] == PEOPLE:
        kind = next(iter(kinds))  # "three person runnings" would teach nothing
    plain = {"middle": 1e9, "patterned": 0}.get(kind, 80)
    made = {"relation": "", "count": 1, "corner": None, "background": background(random, entry["thing"], plain)}
    jitter = lambda amount: random.uniform(-amount, amount)
    if kind in ("middle", "patterned"):
        places, pictures = [(random.uniform(0.85, 0.95), jitter(0.06), jitter(0.06))], [first]
    elif kind == "single":
        scale = random.uniform(0.76, 0.94)
        room = 1 - scale
        places, pictures = [(scale, jitter(min(0.1, room)), jitter(min(0.1, room)))], [first]
    elif kind == "corner":
        made["corner"] = x, y = random.choice(list(CORNERS))
        scale = random.uniform(0.36, 0.44)
        places, pictures = [(scale, x * random.uniform(0.46, 0.54), y * random.uniform(0.46, 0.54))], [first]
    elif kind == "pair":
        second = another(things, style, random, [entry["thing"]])
        made["relation"] = relation = random.choice(("beside", "beside", "left", "right", "above", "below"))
        dx, dy = {"beside": (-1, 0), "left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}[relation]
        places = [(random.uniform(0.44, 0.5), 0.48 * sign * dx + jitter(0.04), 0.48 * sign * dy + jitter(0.04)) for sign in (1, -1)]
        pictures = [first, second]
    elif kind == "row":
        made["relation"] = "row"
        pictures = [first]
        while len(pictures) < 3:
            pictures.append(another(things, style, random, [things.entries[p]["thing"] for p in pictures]))
        places = [(random.uniform(0.28, 0.32), x + jitter(0.03), jitter(0.06)) for x in (-0.64, 0, 0.64)]
    else:
        made["count"] = count = random.choice((2, 2, 3, 4))
        centres = {2: [(-0.48, 0), (0.48, 0)], 3: [(0, -0.46), (-0.48, 0.46), (0.48, 0.46)],
                   4: [(x, y) for y in (-0.48, 0.48) for x in (-0.48, 0.48)]}[count]
        scale = random.uniform(0.42, 0.47)
        places, pictures = [(scale, x + jitter(0.03), y + jitter(0.03)) for x, y in centres], [first] * count
    mirrored = kind not in ("middle", "patterned") and not any(w in ONE_WAY for w in entry["thing"].split()) and random.random() < 0.5
    made["pictures"] = pictures
    made["places"] = [(*p, mirrored) for p in places]
    made["entries"] = [things.entries[p] for p in (pictures[:1] if made["count"] > 1 else pictures)]
    return made


def single(things: Things, random: Random) -> dict:
    """A scene of one thing."""
    return scene(things, random, {"single": 1})


def plan(entries: list[dict], tokenizer, count: int, seed: int, make=scene) -> dict[str, torch.Tensor]:
    """`count` scenes of `make`: pictures (count, 4), -1 where a slot is empty; places (count, 4, 4); ground (count, 7),
    the kind and two colours; holes (count, 5); labels (count, 3), thing, style and colour, -1 where there is more than
    one; tokens (count, CAPTIONS, tokens), as many as the tokenizer takes."""
    random, things = Random(seed), Things(entries)
    pictures, places = np.full((count, SLOTS), -1, np.int64), np.zeros((count, SLOTS, 4), np.float32)
    grounds, labels, captions = np.zeros((count, 7), np.float32), np.full((count, 3), -1, np.int64), []
    holes = np.zeros((count, 5), np.float32)
    for i in range(count):
        made = make(things, random)
        filled = len(made["pictures"])
        if filled:
            pictures[i, :filled], places[i, :filled] = made["pictures"], made["places"]
        behind = made["background"]
        shade = [random.uniform(-6, 6) for _ in range(3)]
        colours = [min(255, max(0, c + s)) / 255 for name in (behind["first"], behind["second"])
                   for c, s in zip(COLOURS[name], shade if name not in ("white", "black") else (0, 0, 0))]
        grounds[i] = BACKGROUNDS.index(behind["kind"]) + behind.get("number", 0), *colours
        holes[i] = made.get("hole", WHOLE)
        if filled == 1 and "hole" not in made:
            labels[i, :2] = things.number[made["entries"][0]["thing"]], STYLES.index(made["entries"][0]["style"])
        if behind["kind"] == "plain":
            labels[i, 2] = COLOUR_NAMES.index(behind["first"])
        if tokenizer:
            captions += [caption(made, random) for _ in range(CAPTIONS)]
    result = {"pictures": pictures, "places": places, "grounds": grounds, "holes": holes, "labels": labels}
    if tokenizer:
        ids = tokenizer(captions, padding="max_length", truncation=True).input_ids
        result["tokens"] = np.array(ids, np.int64).reshape(count, CAPTIONS, -1)
    return {k: torch.from_numpy(v) for k, v in result.items()}


@lru_cache
def mottles(size: int) -> torch.Tensor:
    """(MOTTLES, size, size) in 0..1: noise that is stronger the coarser it is, as surfaces in photographs have it."""
    random = torch.Generator().manual_seed(9)
    result = torch.zeros(MOTTLES, 1, size, size)
    for cells in (2, 4, 8, 16, 32):
        coarse = torch.randn(MOTTLES, 1, cells, cells, generator=random)
        roughness = torch.rand(MOTTLES, 1, 1, 1, generator=random) * 0.6 + 0.5
        result += F.interpolate(coarse, (size, size), mode="bicubic") * (2 / cells) ** roughness
    return (result[:, 0] * 0.35 + 0.5).clamp(0, 1)


def paint_grounds(grounds: torch.Tensor, size: int) -> torch.Tensor:
    """(count, 3, size, size) in 0..1."""
    y, x = torch.meshgrid(*[(torch.arange(size, device=grounds.device) + 0.5) / size] * 2, indexing="ij")
    edge = lambda wave: (wave * 6).clamp(-1, 1) * 0.5 + 0.5
    blends = torch.stack([torch.zeros_like(x), y, x, edge(torch.sin((x + y) * 6 * torch.pi)),
                          edge(torch.sin(x * 10 * torch.pi) * torch.sin(y * 10 * torch.pi) - 0.55)])
    blends = torch.cat([blends, mottles(size).to(blends)])
    blend = blends[grounds[:, 0].long()].unsqueeze(1)
    first, second = grounds[:, 1:4, None, None], grounds[:, 4:, None, None]
    return first * (1 - blend) + second * blend


class Painter:
    """Paints scenes from the pictures, which it holds at full and at half size, so that small things stay smooth."""

    def __init__(self, pictures: torch.Tensor, device: str):
        self.size = pictures.shape[-1]
        self.whole = pictures.to(device)
        self.half = torch.cat([F.avg_pool2d(part.float(), 2).round().byte() for part in self.whole.split(256)])

    def paint(self, plan: dict, size: int = 0) -> torch.Tensor:
        """(count, 3, size, size) in -1..1 of the scenes of a plan that lies on the device."""
        size = size or self.size
        image = paint_grounds(plan["grounds"], size)
        for slot in range(SLOTS):
            for small in (False, True):
                scale = plan["places"][:, slot, 0]
                which = torch.nonzero((plan["pictures"][:, slot] >= 0) & ((scale < 0.6) | (size < self.size) if small else
                                                                          (scale >= 0.6) & (size >= self.size)))[:, 0]
                if not len(which):
                    continue
                source = (self.half if small else self.whole)[plan["pictures"][which, slot]].to(image.dtype) / 255
                scale, x, y, mirrored = plan["places"][which, slot].unbind(1)
                sign, zero = 1 - 2 * mirrored, torch.zeros_like(x)
                transform = torch.stack([torch.stack([sign / scale, zero, -sign * x / scale], 1),
                                         torch.stack([zero, 1 / scale, -y / scale], 1)], 1)
                grid = F.affine_grid(transform, (len(which), 4, size, size), align_corners=False)
                layer = F.grid_sample(source, grid, align_corners=False)
                image[which] = layer[:, :3] + image[which] * (1 - layer[:, 3:])
        return image.clamp(0, 1) * 2 - 1


def part(plan: dict, which, device: str) -> dict:
    return {k: v[which].to(device, non_blocking=True) for k, v in plan.items()}
