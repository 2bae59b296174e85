#!/usr/bin/env python3
"""Draws one apple with each sampler, and puts the pictures on one labelled sheet.

usage: make_sampler_sheet.py PROGRAM SHEET.png
needs: pillow
"""
import os
import subprocess
import sys
import tempfile

from PIL import Image, ImageDraw

program, target = sys.argv[1:]
SAMPLERS = ("euler euler-a heun lms dpm2 dpm2-a dpmpp-2s dpmpp-2s-a dpmpp-2m dpmpp-sde dpmpp-2m-sde dpmpp-3m-sde ddim ddpm "
            "pndm unipc deis lcm tcd restart").split()
COLUMNS, SIDE, LABEL = 5, 128, 20

rows = -(-len(SAMPLERS) // COLUMNS)
sheet = Image.new("RGB", (COLUMNS * (SIDE + 4) + 4, rows * (SIDE + LABEL) + 4), "white")
draw = ImageDraw.Draw(sheet)
with tempfile.TemporaryDirectory() as folder:
    for index, sampler in enumerate(SAMPLERS):
        path = os.path.join(folder, f"{sampler}.png")
        subprocess.run([program, "generate", "a red apple on a blue background", "--seed", "1", "--sampler", sampler,
                        "--device", "cpu", "-o", path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        x, y = index % COLUMNS * (SIDE + 4) + 4, index // COLUMNS * (SIDE + LABEL) + 4
        sheet.paste(Image.open(path).convert("RGB"), (x, y))
        draw.text((x + 2, y + SIDE + 3), sampler, fill="black")
sheet.save(target, optimize=True)
