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

from PIL import Image, ImageDraw

program, prompts, target = sys.argv[1:4]
columns = int(sys.argv[4]) if len(sys.argv) > 4 else 8
LABEL = 26

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
    thing, _, ground = prompt.partition(" on ")
    draw.text((x + 2, y + height), thing, fill="black")
    draw.text((x + 2, y + height + 11), f"on {ground}" if ground else "", fill="#666666")
sheet.save(target)
