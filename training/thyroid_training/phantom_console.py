"""The console around the tissue: where the sector lies, and scale, ticks, labels and text."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _GREY = 235, 170
_SIDE_LABELS = ("R", "L", "RIGHT", "LEFT", "ISTHMUS", "R LOBE", "L LOBE")

Box = tuple[int, int, int, int]


def place_sector(
    rng: np.random.Generator, height_px: int, width_px: int, *, two_views: bool
) -> Box:
    """Places the sector so that furniture fits on every side.

    Args:
        rng: Source of randomness.
        height_px: Height of the picture.
        width_px: Width of the picture.
        two_views: Whether the sector holds two views, which makes it wide.

    Returns:
        x, y, width and height of the sector in pixels; width to height is 0.6 to 1.9.
    """
    side, above, below = 0.062 * width_px, 0.022 * height_px, 0.14 * height_px
    room_width, room_height = width_px - 2 * side, height_px - above - below
    aspect = rng.uniform(1.55, 1.85) if two_views else rng.uniform(1.08, 1.36)
    height = room_height * (rng.uniform(0.82, 1.0) if rng.random() < 0.33 else 1.0)
    width = min(height * aspect, room_width)
    height = min(height, width / 0.7)
    left = side + rng.uniform(0.0, 1.0) ** 1.5 * (room_width - width)
    top = above + rng.choice([0.0, 0.0, 0.5]) * (room_height - height)
    return round(left), round(top), round(width), round(height)


def _text_scale(canvas: NDArray[np.uint8]) -> float:
    """Size of the font, as a share of the picture's; a floor keeps it readable."""
    height, width = canvas.shape
    return max(0.4 * min(height / 360, width / 560), 0.25)


def _put(
    canvas: NDArray[np.uint8],
    words: str,
    origin: tuple[float, float],
    scale: float,
    grey: int = _WHITE,
) -> None:
    """Writes words with their lower left corner at `origin` (column, row)."""
    at = round(origin[0]), round(origin[1])
    cv2.putText(canvas, words, at, _FONT, scale, (grey,), 1, cv2.LINE_AA)


def _draw_bar_and_ticks(rng: np.random.Generator, canvas: NDArray[np.uint8], sector: Box) -> None:
    height, width = canvas.shape
    left, top, sector_width, sector_height = sector
    right = left + sector_width
    bar_height, bar_top = round(0.28 * height), round(0.44 * height)
    bar_left = max(round(0.014 * width), 1)
    bar_right = min(bar_left + max(round(0.018 * width), 2), left - 3)
    ramp = np.linspace(255, 0, bar_height).astype(np.uint8)[:, None]
    canvas[bar_top : bar_top + bar_height, bar_left:bar_right] = ramp

    dot = max(round(min(height / 360, width / 560)), 1)
    centimetre = sector_height / rng.uniform(3.2, 5.2)
    for row in np.arange(top, top + sector_height, centimetre).round().astype(int):
        canvas[row : row + dot, left - 2 - dot : left - 2] = _WHITE
        canvas[row : row + dot, right + 2 : right + 2 + dot] = _WHITE
    row = max(top - 2 - dot, 0)
    for column in np.arange(left, right, centimetre).round().astype(int):
        canvas[row : max(top - 1, 1), column : column + dot] = _WHITE


def _draw_settings(rng: np.random.Generator, canvas: NDArray[np.uint8], sector: Box) -> None:
    """Writes made-up settings of the scanner right of the sector, where there is room."""
    left, top, sector_width, sector_height = sector
    scale = 0.85 * _text_scale(canvas)
    settings = (
        f"G{rng.integers(60, 100)}",
        f"L{rng.integers(10, 15)}",
        f"{rng.integers(7, 15)}M",
        f"{rng.integers(18, 45)}Hz",
        f"D{rng.integers(55, 75)}",
        f"P{rng.integers(80, 101)}",
    )
    for line, words in enumerate(settings, start=1):
        (words_width, words_height), _ = cv2.getTextSize(words, _FONT, scale, 1)
        column = canvas.shape[1] - words_width - 3
        baseline = top + line * words_height * 1.75
        if column > left + sector_width + 4 and baseline < top + sector_height:
            _put(canvas, words, (column, baseline), scale, _GREY)


def _draw_body_mark(canvas: NDArray[np.uint8]) -> None:
    """Draws a neck in outline into the lower right corner."""
    height, width = canvas.shape
    reach = 0.045 * min(height, width / 1.5)
    centre = round(width - 2.2 * reach), round(height - 0.9 * reach)
    outer = round(1.4 * reach), round(0.7 * reach)
    inner = outer[0] // 3, outer[1] // 2
    cv2.ellipse(canvas, centre, outer, 0, 180, 360, (_GREY,), 1, cv2.LINE_AA)
    cv2.ellipse(canvas, centre, inner, 0, 0, 360, (_GREY,), 1, cv2.LINE_AA)


def draw_console(rng: np.random.Generator, canvas: NDArray[np.uint8], sector: Box) -> None:
    """Draws grey scale, ticks, settings, side label and body mark around the sector.

    Args:
        rng: Source of randomness.
        canvas: UINT8 [height, width], drawn into.
        sector: x, y, width and height of the tissue.
    """
    left, top, sector_width, sector_height = sector
    _draw_bar_and_ticks(rng, canvas, sector)
    _draw_settings(rng, canvas, sector)
    scale = _text_scale(canvas)
    label = str(rng.choice(_SIDE_LABELS))
    (_, label_height), _ = cv2.getTextSize(label, _FONT, scale, 1)
    column = left + rng.uniform(0.0, 0.12) * sector_width
    _put(canvas, label, (column, top + sector_height + 1.7 * label_height), scale)
    if rng.random() < 0.6:
        _draw_body_mark(canvas)


def draw_text(canvas: NDArray[np.uint8], sector: Box, text: str) -> None:
    """Writes a line below the side label, as small as it must be to fit.

    Args:
        canvas: UINT8 [height, width], drawn into.
        sector: x, y, width and height of the tissue.
        text: What to write; what is not ASCII shows as a question mark.
    """
    height, width = canvas.shape
    left, top, sector_width, sector_height = sector
    scale = _text_scale(canvas)
    (words_width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    scale *= min(1.0, (width - 4) / max(words_width, 1))
    (words_width, words_height), descent = cv2.getTextSize(text, _FONT, scale, 1)
    column = max(min(left + 0.2 * sector_width, width - 2 - words_width), 2)
    baseline = min(top + sector_height + 3.7 * words_height, height - descent)
    _put(canvas, text, (column, baseline), scale)
