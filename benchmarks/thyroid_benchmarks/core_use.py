"""On how many threads the networks ran during a load, and how long they waited for a core.

The server counts both on its metrics port (`thyroid_server.onnx_serving`): a closed loop of one
client that comes out slow may have run on one thread, or have waited.
"""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from thyroid_server.onnx_serving import RUNS_METRIC, WAIT_METRIC

_TIMEOUT_S = 5.0
_MS_PER_S = 1000
_LINE = re.compile(
    rf"^(?P<metric>{RUNS_METRIC}|{WAIT_METRIC})\{{(?P<labels>[^}}]*)\}} (?P<value>\S+)$",
    re.MULTILINE,
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class CoreUse:
    """Counters of one model.

    Attributes:
        runs: By the number of threads that the run was given.
        waited_s: How long all of them waited for a core.
    """

    runs: Mapping[int, int] = field(default_factory=dict)
    waited_s: float = 0.0

    @property
    def mean_wait_ms(self) -> float:
        """Mean wait of a run; 0 without one."""
        count = sum(self.runs.values())
        return _MS_PER_S * self.waited_s / count if count else 0.0

    def since(self, earlier: CoreUse) -> CoreUse:
        """Return what was counted since an earlier look."""
        runs = {threads: self.runs[threads] - earlier.runs.get(threads, 0) for threads in self.runs}
        return CoreUse(
            {threads: count for threads, count in sorted(runs.items()) if count},
            self.waited_s - earlier.waited_s,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the counters for a report."""
        runs = {str(threads): count for threads, count in self.runs.items()}
        return {"runs_by_threads": runs, "waited_s": self.waited_s}


CoreUses: TypeAlias = Mapping[str, CoreUse]
"""By the model's name; a model that takes no cores of the pool is missing."""


async def read_core_use(metrics: str | None) -> CoreUses | None:
    """Read the counters from a server's metrics port.

    Args:
        metrics: host:port; None where it is not known.

    Returns:
        The counters; None where the port is not known or does not answer.
    """
    if metrics is None:
        return None
    try:
        return core_use_of(await asyncio.to_thread(_get, f"http://{metrics}/metrics"))
    except OSError:
        return None


def core_use_of(text: str) -> CoreUses:
    """Read the counters from the text of a metrics port."""
    found: dict[str, CoreUse] = {}
    for match in _LINE.finditer(text):
        labels = dict(_LABEL.findall(match["labels"]))
        own = found.get(labels["model"], CoreUse())
        if match["metric"] == RUNS_METRIC:
            runs = {**own.runs, int(labels["threads"]): round(float(match["value"]))}
            found[labels["model"]] = CoreUse(runs, own.waited_s)
        else:
            found[labels["model"]] = CoreUse(own.runs, float(match["value"]))
    return found


def used_between(before: CoreUses | None, after: CoreUses | None) -> CoreUses | None:
    """Return what was counted between two looks; None where one of them saw nothing."""
    if before is None or after is None:
        return None
    return {name: use.since(before.get(name, CoreUse())) for name, use in after.items()}


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
        return str(answer.read().decode())
