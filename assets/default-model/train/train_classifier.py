"""Trains the judge: a small network that names the thing, the style and the background's colour of a picture.

usage: python train_classifier.py WORK_FOLDER --minutes 1 [--device cuda] [--preset small]

WORK_FOLDER holds pictures.zip and pictures.json. The result, classifier.safetensors, judges what the model draws (judge.py),
and its early layers are the perceptual term in the loss of the autoencoder.
"""
import json

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from compositions import Painter, load_pictures, part, plan, single
from settings import COLOUR_NAMES, STYLES
from training import Schedule, arguments_of, log, quick_bfloat16

SIDE = 128  # pictures are halved to this before they are judged


class Block(nn.Module):
    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, out_channels, 3, 2, 1, bias=False)
        self.second = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(out_channels) for _ in range(2))
        self.skip = nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, x):
        y = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(y + self.skip(F.avg_pool2d(x, 2)))


class Classifier(nn.Module):
    """(count, 3, SIDE, SIDE) in -1..1 to scores of things, styles and colours."""

    def __init__(self, things: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.blocks = nn.ModuleList([Block(32, 64), Block(64, 96), Block(96, 160), Block(160, 256)])
        self.heads = nn.ModuleList(nn.Linear(256, n) for n in (things, len(STYLES), len(COLOUR_NAMES)))
        self.ground = nn.Linear(64, len(COLOUR_NAMES))

    def features(self, x) -> list[torch.Tensor]:
        """What the stem and the first three blocks see, of a picture of any size."""
        result = [self.stem(x)]
        for block in self.blocks[:3]:
            result.append(block(result[-1]))
        return result

    def forward(self, x):
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 0:
                early = x
        pooled = x.mean((2, 3))
        # The background is what the border shows.
        border = torch.cat([early[:, :, :4].flatten(2), early[:, :, -4:].flatten(2)], 2).mean(2)
        return self.heads[0](pooled), self.heads[1](pooled), self.heads[2](pooled) + self.ground(border)


def halved(images: torch.Tensor) -> torch.Tensor:
    return F.interpolate(images, (SIDE, SIDE), mode="area") if images.shape[-1] != SIDE else images


def worn(images: torch.Tensor) -> torch.Tensor:
    """Some blurred, some noisy, all a little off in contrast, as generated pictures are."""
    count = len(images)
    chosen = lambda share: torch.rand(count, 1, 1, 1, device=images.device) < share
    blurred = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear")
    images = torch.where(chosen(0.3), blurred, images)
    images = images * (1 + 0.1 * torch.randn(count, 1, 1, 1, device=images.device))
    return images + torch.randn_like(images) * 0.06 * torch.rand(count, 1, 1, 1, device=images.device)


def main():
    arguments, preset, folder, device = arguments_of(__doc__)
    size = preset.classifier_batch
    pictures, entries = load_pictures(folder, SIDE)
    painter = Painter(pictures, device)
    scenes = plan(entries, None, 12 * len(entries), seed=1, make=single)
    proof = part(plan(entries, None, 16 * size, seed=2, make=single), slice(None), device)
    things = len({e["thing"] for e in entries})
    classifier = Classifier(things).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=0.02, fused=True)
    schedule = Schedule(arguments, warm_up=200)
    while schedule.running():
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * schedule.rate()
        batch = part(scenes, torch.randint(len(scenes["labels"]), (size,)), device)
        with torch.no_grad():
            images = worn(painter.paint(batch)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=quick_bfloat16(device)):
            scores = classifier(images)
        labels = batch["labels"]
        loss = sum(weight * F.cross_entropy(s.float(), labels[:, i], ignore_index=-1, label_smoothing=0.05)
                   for i, (s, weight) in enumerate(zip(scores, (1, 0.3, 0.3))))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if schedule.step % 100 == 0:
            log(f"classifier step {schedule.step}, {schedule.step * size} pictures, loss {loss.item():.3f}")
    classifier.eval()
    right, counted = torch.zeros(4), torch.zeros(4)
    with torch.no_grad():
        for at in range(0, len(proof["labels"]), size):
            batch = {k: v[at:at + size] for k, v in proof.items()}
            scores, labels = classifier(painter.paint(batch)), batch["labels"]
            for i, top in ((0, 1), (0, 5), (1, 1), (2, 1)):
                kind = (i, top) == (0, 5)
                known = labels[:, i] >= 0
                hit = (scores[i].topk(top).indices == labels[:, i, None]).any(1) & known
                right[3 if kind else i] += hit.sum().cpu()
                counted[3 if kind else i] += known.sum().cpu()
    thing, style, colour, five = (right / counted).tolist()
    log(f"on new scenes: thing {thing:.3f} (top 5 {five:.3f}), style {style:.3f}, colour {colour:.3f}")
    weights = {k: v.half() if v.is_floating_point() else v for k, v in classifier.state_dict().items()}
    accuracy = {"thing": thing, "thing_top5": five, "style": style, "colour": colour}
    save_file({k: v.contiguous().cpu() for k, v in weights.items()}, folder / "classifier.safetensors",
              metadata={"accuracy": json.dumps(accuracy)})


def load_classifier(folder, device: str) -> tuple[Classifier, dict]:
    """The judge, and how often it is right on pictures that it was not trained on."""
    with safe_open(folder / "classifier.safetensors", "pt") as file:
        weights, accuracy = {k: file.get_tensor(k) for k in file.keys()}, json.loads(file.metadata()["accuracy"])
    classifier = Classifier(len(weights["heads.0.bias"]))
    classifier.load_state_dict(weights)
    return classifier.float().eval().requires_grad_(False).to(device), accuracy


if __name__ == "__main__":
    main()
