"""Fetches the emoji art, renders it, and writes the training set.

usage: python prepare_data.py WORK_FOLDER

The art comes from two npm packages, fetched by the ordinary `npm` client:
  @lobehub/fluent-emoji-3d         WebP pictures with transparency, named by code point
  @iconify-json/fluent-emoji-flat  SVG pictures, the same designs drawn flat
Both are MIT-licensed. WORK_FOLDER receives `pictures.npy` (N, 128, 128, 4) with
premultiplied colour, and `pictures.json` (style, wordings, group and weight of each).
"""
import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

SIZE = 128
PACKAGES = ["@lobehub/fluent-emoji-3d@1.1.0", "@iconify-json/fluent-emoji-flat@1.2.6"]


def fetch(folder: Path) -> Path:
    """Installs the art packages into folder/node_modules unless they are there."""
    modules = folder / "node_modules"
    if not (modules / "@iconify-json/fluent-emoji-flat").exists():
        subprocess.run(["npm", "install", "--prefix", str(folder), "--no-save", *PACKAGES], check=True)
    return modules


def code_points(emoji: str) -> str:
    """The file-name form of an emoji: hexadecimal code points without the variation selector."""
    return "-".join(f"{ord(c):04x}" for c in emoji if ord(c) != 0xFE0F)


def premultiplied(picture: Image.Image) -> np.ndarray:
    """Pads to a square, scales to SIZE. Premultiplied, so that edges do not pick up
    the colour hidden under transparent pixels."""
    picture = picture.convert("RGBA")
    side = max(picture.size)
    square = Image.new("RGBA", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    values = np.asarray(square).astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    channels = [Image.fromarray(values[..., i]).resize((SIZE, SIZE), Image.LANCZOS) for i in range(4)]
    return np.clip(np.stack([np.asarray(c) for c in channels], -1), 0, 255).round().astype(np.uint8)


def render_svg(body: str, width: int, height: int) -> Image.Image:
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
           f'viewBox="0 0 {width} {height}" width="256" height="256">{body}</svg>')
    png = resvg_py.svg_to_bytes(svg_string=svg)
    return Image.open(io.BytesIO(bytes(png)))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    modules = fetch(folder)
    relief = {p.stem.replace("-fe0f", ""): p for p in (modules / "@lobehub/fluent-emoji-3d/assets").glob("*.webp")}
    icons = json.loads((modules / "@iconify-json/fluent-emoji-flat/icons.json").read_text())
    flat = json.loads((modules / "@iconify-json/fluent-emoji-flat/chars.json").read_text())
    things = tomllib.loads((Path(__file__).parent / "things.toml").read_text())
    common = things.pop("common")
    pictures, entries = [], []
    for group, members in things.items():
        for emoji, wordings in members.items():
            code = code_points(emoji)
            about = {"wordings": wordings, "group": group, "weight": 3 if emoji in common else 1}
            if code in relief:
                pictures.append(premultiplied(Image.open(relief[code])))
                entries.append({"style": "3d", **about})
            if code in flat:
                icon = icons["icons"][flat[code]]
                pictures.append(premultiplied(render_svg(
                    icon["body"], icon.get("width", icons["width"]), icon.get("height", icons["height"]))))
                entries.append({"style": "flat", **about})
            missing = [s for s, known in (("3d", relief), ("flat", flat)) if code not in known]
            if missing:
                print(f"{wordings[0]}: no {' or '.join(missing)} picture")
    np.save(folder / "pictures.npy", np.stack(pictures))
    (folder / "pictures.json").write_text(json.dumps(entries))
    print(len(pictures), "pictures of", sum(map(len, things.values())), "things")


if __name__ == "__main__":
    main()
