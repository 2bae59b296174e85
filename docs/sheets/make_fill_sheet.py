#!/usr/bin/env python3
"""Fills a disc in each of the four photographs and in four pictures that the default model draws: with a prompt and the
colours of the model, with a prompt and colours matched to the border, and without a prompt. Puts the start, the mask's
edge and the results on one sheet. Nothing is picked: seeds 0 to 7.

usage: make_fill_sheet.py PROGRAM SHEET.png
needs: pillow
"""
import os
import subprocess
import sys
import tempfile

from PIL import Image, ImageDraw

program, target = sys.argv[1:3]
here = os.path.dirname(os.path.abspath(__file__))
photographs = os.path.join(here, "../../tests/fixtures/photos")
SIDE, LABEL = 160, 14
# name, centre and radius of the disc as parts of the picture, what to paint there
PHOTOGRAPHS = [("astronaut", 0.2, 0.8, 0.16, "a yellow star"), ("chelsea", 0.8, 0.25, 0.16, "a butterfly"),
               ("coffee", 0.25, 0.25, 0.18, "a strawberry"), ("rocket", 0.25, 0.3, 0.16, "the moon")]
SCENES = [("a tree on a cyan background", "a bird"), ("a house on a green background", "a flower"),
          ("a fish on a blue background", "a crab"), ("a cat on a pink background", "a red apple")]


def run(*arguments):
    subprocess.run([program, "generate", *arguments, "--device", "cpu"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def square(picture):
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE, SIDE), Image.LANCZOS)
    framed = Image.new("RGB", (SIDE, SIDE), "white")
    framed.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return framed


with tempfile.TemporaryDirectory() as folder:
    path = lambda name: os.path.join(folder, name)
    cases = [(os.path.join(photographs, f"{name}.jpg"), x, y, r, prompt) for name, x, y, r, prompt in PHOTOGRAPHS]
    for seed, (scene, prompt) in enumerate(SCENES):
        run(scene, "--seed", str(seed), "-o", path(f"scene{seed}.png"))
        cases.append((path(f"scene{seed}.png"), 0.8, 0.78, 0.18, prompt))
    sheet = Image.new("RGB", (len(cases) * (SIDE + 4), 4 * (SIDE + LABEL)), "white")
    draw = ImageDraw.Draw(sheet)
    for seed, (start, x, y, r, prompt) in enumerate(cases):
        picture = Image.open(start).convert("RGB")
        w, h = picture.size
        disc = [x * w - r * h, y * h - r * h, x * w + r * h, y * h + r * h]
        mask = Image.new("L", picture.size)
        ImageDraw.Draw(mask).ellipse(disc, fill=255)
        mask.save(path("mask.png"))
        shown = picture.copy()
        ImageDraw.Draw(shown).ellipse(disc, outline="white", width=max(1, h // 80))
        row = [(shown, "start")]
        for number, (words, label, more) in enumerate([(prompt, prompt, []), (prompt, "… matched", ["--colour-match"]),
                                                       ("", "no prompt", [])]):
            run(*([words] if words else []), "--init", start, "--mask", path("mask.png"), "--count", "1", *more,
                "--seed", str(seed), "-o", path(f"out{seed}{number}.png"))
            row.append((Image.open(path(f"out{seed}{number}.png")), label))
        for i, (image, label) in enumerate(row):
            sheet.paste(square(image), (seed * (SIDE + 4), i * (SIDE + LABEL)))
            draw.text((seed * (SIDE + 4) + 2, i * (SIDE + LABEL) + SIDE + 1), label, fill="black")
sheet.save(target, optimize=True)
