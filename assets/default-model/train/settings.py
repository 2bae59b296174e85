"""Sizes of the two models that these scripts make: `full` for a GPU, `small` for two CPU cores."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    size: int  # pixels on a side
    autoencoder_channels: tuple
    unet_channels: tuple
    unet_heads: tuple
    text_width: int
    text_layers: int
    text_heads: int
    compositions: int  # pictures composed and encoded once
    classifier_batch: int
    autoencoder_batch: int
    crop: int  # the autoencoder trains on crops of this side
    unet_batch: int
    learning_rate: float


PRESETS = {
    "full": Preset(
        size=256, autoencoder_channels=(64, 96, 128, 160), unet_channels=(128, 192, 224), unet_heads=(4, 6, 7),
        text_width=256, text_layers=3, text_heads=4, compositions=73728, classifier_batch=256, autoencoder_batch=32, crop=128,
        unet_batch=256, learning_rate=7e-4),
    "small": Preset(
        size=128, autoencoder_channels=(16, 32, 64, 64), unet_channels=(96, 160, 192), unet_heads=(4, 4, 4),
        text_width=192, text_layers=3, text_heads=6, compositions=16384, classifier_batch=64, autoencoder_batch=16, crop=64,
        unet_batch=16, learning_rate=8e-4),
}

STYLES = ("3d", "flat", "cartoon", "outline")
TOKENS = 48  # the longest prompt the text encoder sees at once

COLOURS = {
    "white": (255, 255, 255), "black": (16, 16, 18), "red": (214, 48, 49), "green": (64, 160, 72),
    "blue": (52, 110, 220), "yellow": (250, 214, 60), "orange": (245, 146, 40), "purple": (132, 80, 190),
    "pink": (250, 160, 190), "gray": (128, 130, 134), "brown": (130, 88, 54), "cyan": (90, 205, 220),
}
COLOUR_NAMES = tuple(COLOURS)
KOREAN_COLOURS = {
    "white": "하얀색", "black": "검은색", "red": "빨간색", "green": "초록색", "blue": "파란색", "yellow": "노란색",
    "orange": "주황색", "purple": "보라색", "pink": "분홍색", "gray": "회색", "brown": "갈색", "cyan": "하늘색",
}
