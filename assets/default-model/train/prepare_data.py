"""Fetches the emoji art, renders it, and writes the training set and the tokenizer.

usage: python prepare_data.py WORK_FOLDER

The art and the words come from npm packages, fetched by the ordinary `npm` client:
  @lobehub/fluent-emoji-3d         WebP pictures with transparency, named by code point (MIT)
  @iconify-json/fluent-emoji-flat  SVG pictures, the same designs drawn flat (MIT)
  @iconify-json/noto               SVG pictures of Noto Emoji (Apache-2.0)
  emojibase-data                   names and keywords in English and Korean (MIT)
WORK_FOLDER receives `pictures.zip` (one WebP a picture, 256x256 with transparency), `pictures.json` (style,
thing, wordings and weight of each, in the same order) and `tokenizer/`.
"""
import concurrent.futures
import io
import json
import subprocess
import sys
import tomllib
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image, ImageFilter

from tokenizer import train_tokenizer

SIZE = 256
PACKAGES = ["@lobehub/fluent-emoji-3d@1.1.0", "@iconify-json/fluent-emoji-flat@1.2.6", "@iconify-json/noto@1.2.9",
            "emojibase-data@17.0.0"]
PEOPLE = 1
GROUPS = {0, PEOPLE, 3, 4, 5, 6, 7}  # smileys, people, animals, food, travel, activities, objects
DESCRIBED = {3, 4, 5, 6, 7}  # whose keywords are names; those of smileys and people are moods and exclamations
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
GENDERS = ("man", "woman", "person", "men", "women", "people")
# Near-copies of each other.
LEFT_OUT = ("keycap", "o’clock", "-thirty", "quarter moon", "gibbous", "family", "couple with", "kiss:", "holding hands")


def fetch(folder: Path) -> Path:
    """Installs the packages into folder/node_modules unless they are there."""
    modules = folder / "node_modules"
    if not all((modules / package.rpartition("@")[0]).exists() for package in PACKAGES):
        subprocess.run(["npm", "install", "--prefix", str(folder), "--no-save", *PACKAGES], check=True)
    return modules


def code_points(hexcode: str) -> str:
    """The file-name form of an emoji: lower case, without the variation selector."""
    return hexcode.lower().replace("-fe0f", "")


def square(picture: Image.Image) -> Image.Image:
    """Pads to a square and scales to SIZE, premultiplied meanwhile, so that edges do not pick up the colour
    hidden under transparent pixels."""
    picture = picture.convert("RGBA")
    side = max(picture.size)
    padded = Image.new("RGBA", (side, side))
    padded.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return padded if side == SIZE else padded.convert("RGBa").resize((SIZE, SIZE), Image.LANCZOS).convert("RGBA")


def render(icons: dict, name: str, size: int) -> Image.Image:
    icon = icons["icons"][name]
    width, height = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
           f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}" width="{size}" height="{size}">'
           f'{icon["body"]}</svg>')
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")


def outline(picture: Image.Image) -> Image.Image:
    """Dark lines where the colour of a flat picture changes, from a rendering of twice the size."""
    def spread(channel: Image.Image, kind) -> np.ndarray:  # four narrow filters make one of nine pixels, and sooner
        for _ in range(4):
            channel = channel.filter(kind(3))
        return np.asarray(channel).astype(int)

    change = np.max([spread(c, ImageFilter.MaxFilter) - spread(c, ImageFilter.MinFilter)
                     for c in picture.convert("RGBa").split()], 0)
    lines = np.zeros((*change.shape, 4), np.uint8)
    lines[..., :3] = (16, 16, 18)
    lines[..., 3] = np.clip((change - 24) * 4, 0, 255)
    return Image.fromarray(lines)


def webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=88, alpha_quality=90, method=4)
    return buffer.getvalue()


def thing_of(label: str, group: int) -> str:
    """The name under which the variants of one thing are counted: people without their gender."""
    if group != PEOPLE:
        return label
    words = label.replace(":", "").split()
    return " ".join(w for w in words if w not in GENDERS) or label


def wordings_of(emoji: dict, korean: dict, unique: tuple[set, set], known: dict, hangul_known: dict) -> tuple[list, list]:
    """The English and Korean names of an emoji: those of things.toml and korean.toml where it is listed, else its
    label, with keywords that belong to it alone."""
    label, symbol = emoji["label"].lower(), emoji["emoji"].replace("\ufe0f", "")
    if symbol in known:
        return known[symbol], hangul_known[symbol]
    english, hangul = [label.replace(": ", " with ")], [korean["label"]]
    if emoji.get("group") in DESCRIBED:
        english += [t.lower() for t in emoji.get("tags", [])
                    if t.lower() in unique[0] and t.lower() not in english and len(t) > 3][:1]
        hangul += [t for t in korean.get("tags", []) if t != korean["label"] and t in unique[1]][:1]
        # A short form of the label: "사과" of "빨간 사과".
        hangul += [t for t in korean.get("tags", []) if t not in hangul and t in korean["label"].split()][:1]
    return english, hangul


def emoji_list(modules: Path) -> list[dict]:
    """Each emoji with its wordings, weight and skin-tone variants."""
    things = tomllib.loads((Path(__file__).parent / "things.toml").read_text())
    bare = lambda text: text.replace("\ufe0f", "")
    common = {bare(e) for e in things.pop("common")}
    known = {bare(e): words for members in things.values() for e, words in members.items()}
    hangul_known = {bare(e): words for e, words in
                    tomllib.loads((Path(__file__).parent / "korean.toml").read_text()).items()}
    claimed = {w: e for e, words in known.items() for w in words}
    english = json.loads((modules / "emojibase-data/en/data.json").read_text())
    korean = {e["hexcode"]: e for e in json.loads((modules / "emojibase-data/ko/data.json").read_text())}
    counts = tuple(Counter(t.lower() for e in data for t in {*e.get("tags", []), e["label"]})
                   for data in (english, korean.values()))
    unique = tuple({t for t, n in count.items() if n == 1} for count in counts)
    result = []
    for emoji in english:
        label, group = emoji["label"].lower(), emoji.get("group")
        if group not in GROUPS or any(part in label for part in LEFT_OUT):
            continue
        names, hangul = wordings_of(emoji, korean[emoji["hexcode"]], unique, known, hangul_known)
        symbol = bare(emoji["emoji"])
        # "dog" belongs to the dog's face, so the whole dog must be called otherwise or stay away.
        names = [n for n in names if claimed.get(n, symbol) == symbol]
        if not names:
            continue
        weight = 4 if symbol in common else 2 if symbol in known else 0.3 if group == PEOPLE else 1
        result.append({"symbol": symbol, "thing": thing_of(names[0] if symbol in known else label, group),
                       "english": names, "korean": hangul, "group": group, "weight": weight,
                       "code": code_points(emoji["hexcode"]),
                       "tones": [(code_points(s["hexcode"]), s["tone"]) for s in emoji.get("skins", [])
                                 if isinstance(s.get("tone"), int)]})
    return result


def drawings(emoji: dict, art: dict) -> list[tuple]:
    """(style, code, tone) of each picture of an emoji. Of the five skin tones three are kept in the shaded style and
    two in the others, each as often as the next over all emoji."""
    start = zlib.crc32(emoji["code"].encode())
    result = []
    for style, codes in art.items():
        kept = {(start + step) % 5 + 1 for step in ((0, 2, 4) if style == "3d" else (0, 2))}
        for code, tone in [(emoji["code"], 0), *emoji["tones"]]:
            if code in codes and (tone == 0 or tone in kept):
                result.append((style, code, tone))
    return result


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    modules = fetch(folder)
    relief = {p.stem.replace("-fe0f", ""): p for p in (modules / "@lobehub/fluent-emoji-3d/assets").glob("*.webp")}
    icons, codes = {}, {}
    for style, name in (("flat", "fluent-emoji-flat"), ("cartoon", "noto")):
        icons[style] = json.loads((modules / f"@iconify-json/{name}/icons.json").read_text())
        named = json.loads((modules / f"@iconify-json/{name}/chars.json").read_text())
        codes[style] = {c.replace("-fe0f", ""): n for c, n in named.items() if n in icons[style]["icons"]}
    art = {"3d": relief, **codes, "outline": codes["flat"]}

    def draw(style: str, code: str) -> bytes:
        if style == "3d":
            picture = Image.open(relief[code])
            return relief[code].read_bytes() if picture.size == (SIZE, SIZE) else webp(square(picture))
        if style == "outline":
            return webp(square(outline(render(icons["flat"], codes["flat"][code], 2 * SIZE))))
        return webp(square(render(icons[style], codes[style][code], SIZE)))

    entries, jobs = [], []
    for emoji in emoji_list(modules):
        for style, code, tone in drawings(emoji, art):
            if style == "outline" and tone:
                continue  # lines have no skin colour
            jobs.append((style, code))
            entries.append({"style": style, "tone": TONES[tone - 1] if tone else "",
                            **{k: emoji[k] for k in ("symbol", "thing", "english", "korean", "group", "weight")}})
    with concurrent.futures.ThreadPoolExecutor() as pool, zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for i, data in enumerate(pool.map(lambda job: draw(*job), jobs)):
            archive.writestr(f"{i:05}.webp", data)
    (folder / "pictures.json").write_text(json.dumps(entries, ensure_ascii=False))
    train_tokenizer(entries, folder / "tokenizer")
    print(len(entries), "pictures of", len({e["thing"] for e in entries}), "things:",
          dict(Counter(e["style"] for e in entries)), "with skin tones", sum(bool(e["tone"]) for e in entries))


if __name__ == "__main__":
    main()
