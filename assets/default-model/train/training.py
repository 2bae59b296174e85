"""What the stages share: arguments, the clock that sets the learning rate, averaged weights, and the log."""
import argparse
import math
import time
from pathlib import Path

import torch

from settings import PRESETS


def arguments_of(usage: str, more=lambda parser: None):
    """Arguments, preset, folder and device of a stage."""
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=0, help="how long to train")
    parser.add_argument("--until", type=float, default=0, help="train until this time, in seconds since 1970")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preset", choices=PRESETS, default="full" if torch.cuda.is_available() else "small")
    more(parser)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    return arguments, PRESETS[arguments.preset], arguments.folder, arguments.device


def quick_bfloat16(device: str) -> bool:
    """False on a processor that has no instructions for it and takes many times as long with it."""
    return device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


class Schedule:
    """The learning rate follows the clock, so that it reaches its end however fast the steps are: a short rise, half
    the time at full rate, then down along a cosine."""

    def __init__(self, arguments, warm_up: int, begin=0.0, end=1.0):
        self.start, self.step, self.warm_up = time.time(), 0, warm_up
        self.end = arguments.until or self.start + arguments.minutes * 60
        self.first, self.last = begin, end

    def running(self) -> bool:
        self.step += 1
        return time.time() < self.end

    def progress(self) -> float:
        elapsed = (time.time() - self.start) / max(1e-6, self.end - self.start)
        return self.first + (self.last - self.first) * min(1, elapsed)

    def rate(self) -> float:
        falling = max(0.0, (self.progress() - 0.5) / 0.5)
        return min(1, self.step / self.warm_up) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * falling)))


class Average:
    """Running average of weights, which draws better than the last weights do."""

    def __init__(self, parameters, decay: float):
        self.parameters, self.decay, self.steps = list(parameters), decay, 0
        self.values = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self):
        self.steps += 1
        torch._foreach_lerp_(self.values, [p.data for p in self.parameters],
                             1 - min(self.decay, (1 + self.steps) / (10 + self.steps)))

    @torch.no_grad()
    def swap(self):
        """Exchanges the averages with the weights; a second call puts them back."""
        for value, parameter in zip(self.values, self.parameters):
            held = parameter.data.clone()
            parameter.data.copy_(value)
            value.copy_(held)


def log(text: str):
    print(time.strftime("%H:%M:%S"), text, flush=True)
