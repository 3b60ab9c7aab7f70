"""Where the region of interest lies: plain arithmetic, for the server and for overlays alike."""

from __future__ import annotations


def roi_square(box: tuple[int, int, int, int], margin_share: float) -> tuple[float, float, float]:
    """Lay the square of the region of interest around a nodule's box.

    Args:
        box: x, y, width, height of the nodule in pixels of the upright image.
        margin_share: Margin on each side, as a share of the box's longer side.

    Returns:
        Left edge, upper edge and side of the square, in pixels of the upright image. It may reach
        beyond the image.
    """
    x, y, width, height = box
    side = max(width, height) * (1 + 2 * margin_share)
    return x + (width - side) / 2, y + (height - side) / 2, side
