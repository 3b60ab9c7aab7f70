"""How many users a load shape wants when; apart from Locust, whose import patches sockets."""

from __future__ import annotations

from typing import Literal

VARIABLE = "THYROID_LOAD_SHAPE"
Shape = Literal["step", "spike", "soak"]
_STEPS = 5


def users_at(shape: Shape, share: float, users: int) -> int | None:
    """Say how many users a shape wants.

    Args:
        shape: `step` rises to all users in 5 steps; `spike` keeps a quarter of them, but for a
            tenth of the time all; `soak` keeps all.
        share: How much of the time has passed, from 0.
        users: All of them, from 1.

    Returns:
        From 1 to `users`; None when the time is over.
    """
    if share >= 1:
        return None
    if shape == "step":
        return max(1, round(users * (int(share * _STEPS) + 1) / _STEPS))
    if shape == "spike":
        return users if 0.4 <= share < 0.5 else max(1, round(users / 4))
    return users
