"""Figures of a segmentation, by their textbook definitions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def dice(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Dice coefficient 2|A and B| / (|A| + |B|) (Dice, Ecology 26, 1945).

    Args:
        predicted: bool, any shape.
        truth: bool, the same shape.

    Returns:
        0 to 1; 1 where both are empty, since nothing was missed and nothing invented.
    """
    total = int(predicted.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2 * int((predicted & truth).sum()) / total
