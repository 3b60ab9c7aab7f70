"""When a request is sent again: the policy, in tenacity's terms, under one deadline."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any

import tenacity

from thyroid_client.errors import DeadlineExceeded, ModelNotFound, ThyroidClientError
from thyroid_client.options import RetryPolicy

_READY_POLL_S = 0.25


class Attempts:
    """The attempts at one thing, which share one deadline.

    Attributes:
        count: How often it was tried.
    """

    def __init__(self, total_s: float) -> None:
        self.count = 0
        self._total_s = total_s
        self._end_s = time.monotonic() + total_s
        self._last_failure: ThyroidClientError | None = None

    def rest_s(self) -> float:
        """Return the seconds that are left; 0 or less when the deadline has passed."""
        return self._end_s - time.monotonic()

    @contextlib.contextmanager
    def one(self) -> Iterator[float]:
        """Count an attempt and give the seconds that it may take, more than 0.

        Raises:
            ThyroidClientError: There is no time left. It is the failure of the attempt before,
                which says more than that; `DeadlineExceeded` where there was none.
        """
        rest_s = self.rest_s()
        if rest_s <= 0:
            raise self._last_failure or DeadlineExceeded(
                f"the {self._total_s:g} s for the request were over before it was sent: allow more "
                "in `Timeouts`"
            )
        self.count += 1
        try:
            yield rest_s
        except ThyroidClientError as error:
            self._last_failure = error
            raise


def retry_arguments(policy: RetryPolicy, attempts: Attempts) -> dict[str, Any]:
    """Say in tenacity's terms when to send a request again.

    Args:
        policy: How often, and how long to wait.
        attempts: Those made so far; none is begun that would begin after their deadline.

    Returns:
        Keyword arguments of `tenacity.Retrying` and `tenacity.AsyncRetrying` alike.
    """
    return {
        "retry": tenacity.retry_if_exception(_is_retriable),
        "wait": lambda state: policy.wait_s(state.attempt_number, random.random()),
        "stop": lambda state: (
            state.attempt_number >= policy.attempts or state.upcoming_sleep >= attempts.rest_s()
        ),
        "reraise": True,
    }


def ready_arguments(attempts: Attempts) -> dict[str, Any]:
    """Say in tenacity's terms when to ask again whether a server is ready."""
    return {
        "retry": tenacity.retry_if_exception(means_not_ready),
        "wait": tenacity.wait_fixed(_READY_POLL_S),
        "stop": lambda state: state.upcoming_sleep >= attempts.rest_s(),
        "reraise": True,
    }


def means_not_ready(error: BaseException) -> bool:
    """Tell whether a server that answers a question with this error may yet become ready."""
    return _is_retriable(error) or isinstance(error, (ModelNotFound, DeadlineExceeded))


def _is_retriable(error: BaseException) -> bool:
    return isinstance(error, ThyroidClientError) and error.retriable
