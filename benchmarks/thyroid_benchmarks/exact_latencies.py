"""Exact latencies beside Locust's, which it rounds to two significant figures above 100 ms.

Every process keeps the microseconds of its own requests; workers send theirs to the master with
Locust's own reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thyroid_benchmarks.estimates import PERCENTILES, percentile

_FIELD = "thyroid_exact_us"


class ExactLatencies:
    """The latencies of right answers by request name, in microseconds."""

    def __init__(self) -> None:
        self._us: dict[str, list[int]] = {}

    def add(self, name: str, latency_us: int) -> None:
        """Note one."""
        self._us.setdefault(name, []).append(latency_us)

    def clear(self) -> None:
        """Forget all, as Locust does when its statistics are reset."""
        self._us = {}

    def hand_over(self, data: dict[str, Any]) -> None:
        """Put what a worker has noted into its report to the master, and forget it."""
        data[_FIELD] = self._us
        self._us = {}

    def take(self, data: Mapping[str, Any]) -> None:
        """Add what a worker has reported."""
        for name, latencies_us in data.get(_FIELD, {}).items():
            self._us.setdefault(name, []).extend(latencies_us)

    def summary(self) -> dict[str, Any]:
        """Return count and percentiles in ms with their intervals, by request name."""
        return {
            name: {
                "count": len(latencies_us),
                "latency_ms": {
                    f"{percent:g}": percentile(np.array(latencies_us) / 1000, percent).as_dict()
                    for percent in PERCENTILES
                },
            }
            for name, latencies_us in sorted(self._us.items())
        }

    def table(self) -> str:
        """Write the summary for a terminal."""
        lines = ["Exact latencies of right answers, ms (closed loop: from sending to the answer)"]
        for name, figures in self.summary().items():
            values = "".join(
                f"  p{percent} {value['value']:.2f}"
                for percent, value in figures["latency_ms"].items()
            )
            lines.append(f"{name:12} {figures['count']:7d}{values}")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write the summary and every latency as JSON."""
        document = {"loop": "closed", "summary": self.summary(), "latencies_us": self._us}
        path.write_text(json.dumps(document) + "\n", encoding="utf-8")
