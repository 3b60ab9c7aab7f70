"""The resident memory of a server's processes during a run, and whether it grows."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from scipy import stats

from thyroid_benchmarks.estimates import CONFIDENCE, Estimate

BYTES_PER_MB = 1_000_000
_S_PER_HOUR = 3600
_WINDOWS = 10
_INTERVAL_S = 1.0
_MOST_SAMPLES = 2000
# What is held at "the beginning" and "the end" of a run is a mean over so long.
_EDGE_S = 60.0
_EDGE_SHARE = 0.1


@dataclass(frozen=True)
class MemoryTrend:
    """Memory over a run, its warm-up left out.

    Attributes:
        time_s: FP64 [n], when each sample was taken, from the beginning of the run.
        resident_bytes: INT64 [n], summed over the processes; pages that several share count in
            each.
        settle_s: Samples before this are not counted: memory is still being taken for good.
        slope_mb_per_hour: Of the counted samples, with its interval; megabytes of 1,000,000 bytes.
        growth: The end's mean over that of the beginning of what is counted, less 1.
    """

    time_s: npt.NDArray[np.float64]
    resident_bytes: npt.NDArray[np.int64]
    settle_s: float
    slope_mb_per_hour: Estimate
    growth: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures and the samples for a report."""
        return {
            "settle_s": self.settle_s,
            "slope_mb_per_hour": self.slope_mb_per_hour.as_dict(),
            "growth": None if math.isnan(self.growth) else self.growth,
            "time_s": [round(float(moment), 3) for moment in self.time_s],
            "resident_bytes": [int(size) for size in self.resident_bytes],
        }


def trend(time_s: Sequence[float], resident_bytes: Sequence[int], duration_s: float) -> MemoryTrend:
    """Compute whether memory grows.

    What counts begins after the first minute, or a tenth of a shorter run. Its samples are gathered
    into windows: single ones are so much alike that a line through them would seem far surer than
    it is. The slope is that of least squares through the windows' means, its interval Student's
    with n - 2 degrees of freedom (Draper and Smith, Applied Regression Analysis, 3rd ed. 1998,
    section 1.4).

    Args:
        time_s: Ascending, from the beginning of the run.
        resident_bytes: One for each time.
        duration_s: Of the run.

    Returns:
        The trend; NaN where there are too few samples for it.
    """
    times, sizes = np.asarray(time_s, float), np.asarray(resident_bytes, np.int64)
    edge_s = min(_EDGE_S, _EDGE_SHARE * duration_s)
    counted = times >= edge_s
    if counted.sum() < 3:
        unknown = Estimate(math.nan, None, None)
        return MemoryTrend(times, sizes, edge_s, unknown, math.nan)
    moments, held = times[counted], sizes[counted] / BYTES_PER_MB
    parts = np.array_split(np.arange(moments.size), min(_WINDOWS, moments.size))
    line = stats.linregress(
        [float(moments[part].mean()) for part in parts],
        [float(held[part].mean()) for part in parts],
    )
    reach = float(line.stderr) * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(parts) - 2))
    begin = held[moments <= moments[0] + edge_s].mean()
    end = held[moments >= moments[-1] - edge_s].mean()
    slope = float(line.slope)
    return MemoryTrend(
        times,
        sizes,
        edge_s,
        Estimate(slope * _S_PER_HOUR, (slope - reach) * _S_PER_HOUR, (slope + reach) * _S_PER_HOUR),
        float(end / begin) - 1,
    )


def resident_bytes(pid: int) -> int:
    """Sum the resident memory of a process and all of its descendants.

    Raises:
        psutil.NoSuchProcess: The process itself has ended.
    """
    root = psutil.Process(pid)
    total = int(root.memory_info().rss)
    for child in root.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += int(child.memory_info().rss)
    return total


def server_pid(target: str) -> int | None:
    """Find the process of this machine that listens at host:port; None where there is none."""
    host, _, port = target.rpartition(":")
    if host.strip("[]") not in {"127.0.0.1", "localhost", "::1"}:
        return None
    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == int(port)
                and connection.pid is not None
            ):
                return int(connection.pid)
    return None


async def sample_memory(
    pid: int,
    duration_s: float,
    into: list[tuple[float, int]],
    *,
    read: Callable[[int], int] = resident_bytes,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Note (seconds from now, bytes) again and again until cancelled, or until the process ends.

    Args:
        pid: Whose memory.
        duration_s: About how long the run lasts; a longer one is sampled at longer intervals.
        into: Takes the samples.
        read: Reads the memory.
        clock: Seconds.
    """
    interval_s = max(_INTERVAL_S, duration_s / _MOST_SAMPLES)
    begun = clock()
    with contextlib.suppress(psutil.NoSuchProcess):
        while True:
            into.append((clock() - begun, read(pid)))
            await asyncio.sleep(interval_s)
