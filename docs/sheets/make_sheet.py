#!/usr/bin/env python3
"""Draws every line of a file of prompts with the program, seed 0 for the first, 1 for the second and so on, and
puts the pictures on one labelled sheet. Nothing is picked: each prompt is drawn once.

usage: make_sheet.py PROGRAM PROMPTS.txt SHEET.png [COLUMNS]
needs: pillow
"""
import os
import subprocess
import sys
import tempfile

from PIL import Image, ImageDraw, ImageFont

program, prompts, target = sys.argv[1:4]
columns = int(sys.argv[4]) if len(sys.argv) > 4 else 8
LABEL = 38
FONTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../assets/fonts")


def labelled(draw: ImageDraw.ImageDraw, at: tuple, text: str, width: int):
    """Writes it in lines that are no wider than a picture."""
    font = ImageFont.truetype(os.path.join(FONTS, "Inter-Regular.otf" if text.isascii() else "Fallback-Hangul.ttf"), 10)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = lines[:-1] + [longer] if font.getlength(longer) <= width else lines + [word]
    draw.text(at, "\n".join(lines), fill="black", font=font, spacing=1)


lines = [line.strip() for line in open(prompts, encoding="utf-8") if line.strip()]
with tempfile.TemporaryDirectory() as folder:
    pictures = []
    for seed, prompt in enumerate(lines):
        path = os.path.join(folder, f"{seed}.png")
        subprocess.run([program, "generate", prompt, "--seed", str(seed), "--device", "cpu", "-o", path],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pictures.append(Image.open(path).convert("RGB"))
width, height = pictures[0].size
rows = -(-len(pictures) // columns)
sheet = Image.new("RGB", (columns * (width + 4), rows * (height + LABEL)), "white")
draw = ImageDraw.Draw(sheet)
for index, (prompt, picture) in enumerate(zip(lines, pictures)):
    x, y = index % columns * (width + 4), index // columns * (height + LABEL)
    sheet.paste(picture, (x, y))
    labelled(draw, (x + 2, y + height), prompt, width)
sheet.save(target)
