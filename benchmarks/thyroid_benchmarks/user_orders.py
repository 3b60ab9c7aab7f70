"""In which order each of Locust's users sends the images: another one for every user."""

from __future__ import annotations

FIRST_SEED = 1
_APART = 100_000  # more users than a process has


def order_seed(worker: int, user: int) -> int:
    """Return the seed of a user's order, for `pool.order`.

    Args:
        worker: Index of the worker process that the user runs in, from 0; 0 where there is but one.
        user: How many users have been started in this process before, from 0.
    """
    return FIRST_SEED + worker * _APART + user
