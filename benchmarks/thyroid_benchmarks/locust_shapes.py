"""Load shapes for Locust, chosen by the variable THYROID_LOAD_SHAPE: step, spike or soak.

Locust takes a shape where a locustfile defines one, and `-u` and `-t` alone where it defines none.
With a shape `-u` is the highest number of users and `-t` how long the whole shape lasts.
"""

from __future__ import annotations

import os
from typing import Any, cast, get_args

from locust import LoadTestShape

from thyroid_benchmarks.user_shapes import VARIABLE, Shape, users_at

_DEFAULT_USERS = 8
_DEFAULT_DURATION_S = 300


class ChosenShape(LoadTestShape):
    """Follows the shape that the variable names."""

    use_common_options = True
    abstract = False

    def tick(self) -> tuple[int, float] | None:
        """Return the users wanted now and how many to start per second."""
        assert self.runner is not None, "Locust sets the runner before the first tick"
        options = self.runner.environment.parsed_options
        assert options is not None, "Locust sets its options before the first tick"
        duration_s = options.run_time or _DEFAULT_DURATION_S
        users = users_at(
            cast("Shape", os.environ[VARIABLE]),
            cast("Any", self).get_run_time() / duration_s,
            options.num_users or _DEFAULT_USERS,
        )
        return None if users is None else (users, float(users))


def chosen_shape() -> type[LoadTestShape] | None:
    """Return the shape's class; None where no shape is wanted.

    Raises:
        ValueError: The variable names no shape.
    """
    name = os.environ.get(VARIABLE, "")
    if not name:
        return None
    if name not in get_args(Shape):
        raise ValueError(
            f"{VARIABLE} is {name!r}; {', '.join(get_args(Shape))} was wanted: choose one of them, "
            "or unset it for a steady number of users"
        )
    return ChosenShape
