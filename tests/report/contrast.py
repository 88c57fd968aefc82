"""Contrast of colours as the Web Content Accessibility Guidelines 2.2 define it."""

from __future__ import annotations


def contrast(one: str, other: str) -> float:
    """Contrast of two colours such as `#3b6fb6`, from 1 to 21.

    >>> round(contrast("#000000", "#ffffff"), 3), round(contrast("#777777", "#ffffff"), 2)
    (21.0, 4.48)
    """
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
