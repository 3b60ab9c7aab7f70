"""How busy the GPU is meanwhile: sampled from its driver, or from Triton's own metrics."""

from __future__ import annotations

import contextlib
import re
import statistics
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

TRITON_METRIC = "nv_gpu_utilization"
NVML = "NVML"
_VALUE = re.compile(rf"^{TRITON_METRIC}\{{[^}}]*\}} (\S+)$", re.MULTILINE)
_INTERVAL_S = 0.1
_TIMEOUT_S = 2.0

Read = Callable[[], float]
"""The share of time, 0 to 1, in which the GPUs were at work just now; a mean over several GPUs."""


class NoGpuFigures(RuntimeError):  # noqa: N818  # nothing is wrong where there is no GPU
    """Nobody tells how busy a GPU is; the message says why."""


@dataclass(frozen=True)
class Utilisation:
    """How busy the GPU was during a run.

    Attributes:
        mean: Share of time, 0 to 1, over all samples.
        highest: Of a sample.
        samples: How many.
    """

    mean: float
    highest: float
    samples: int


class GpuWatch:
    """Samples one source again and again while something runs."""

    def __init__(self, source: str, read: Read, interval_s: float = _INTERVAL_S) -> None:
        """Take note.

        Args:
            source: What it is called in reports.
            read: Gives a sample.
            interval_s: Between two samples.
        """
        self.source = source
        self._read = read
        self._interval_s = interval_s

    @contextlib.contextmanager
    def watching(self, into: list[float]) -> Iterator[None]:
        """Put samples into a list, from a thread, until the block is left.

        A sample that cannot be had is left out.
        """
        done = threading.Event()

        def watch() -> None:
            while not done.wait(self._interval_s):
                with contextlib.suppress(NoGpuFigures):
                    into.append(self._read())

        thread = threading.Thread(target=watch, name="gpu-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def utilisation_of(samples: list[float]) -> Utilisation | None:
    """Sum samples up; None without one."""
    if not samples:
        return None
    return Utilisation(statistics.fmean(samples), max(samples), len(samples))


def find_watch(metrics_address: str, *, is_local: bool) -> GpuWatch:
    """Find out who tells how busy the GPU is.

    The driver of this machine is asked first, since Triton looks only every two seconds.

    Args:
        metrics_address: host:port of Triton's metrics.
        is_local: Whether the server is on this machine, so that its GPU is this machine's.

    Raises:
        NoGpuFigures: Nobody does.
    """
    reasons = []
    if is_local:
        try:
            return GpuWatch(NVML, _nvml_reader())
        except NoGpuFigures as error:
            reasons.append(str(error))

    def read() -> float:
        return read_triton(metrics_address)

    try:
        read()
    except NoGpuFigures as error:
        raise NoGpuFigures("; ".join([*reasons, str(error)])) from None
    return GpuWatch(TRITON_METRIC, read)


def read_triton(metrics_address: str) -> float:
    """Read `nv_gpu_utilization` from Triton's metrics.

    Raises:
        NoGpuFigures: The metrics cannot be read, or have no such figure.
    """
    try:
        with urllib.request.urlopen(
            f"http://{metrics_address}/metrics", timeout=_TIMEOUT_S
        ) as answer:
            page = answer.read().decode(errors="replace")
    except OSError as error:
        raise NoGpuFigures(f"Triton's metrics cannot be read: {error}") from error
    values = [float(value) for value in _VALUE.findall(page)]
    if not values:
        raise NoGpuFigures(f"Triton's metrics have no {TRITON_METRIC}")
    return statistics.fmean(values)


def _nvml_reader() -> Read:
    try:
        import pynvml  # noqa: PLC0415  # of the extra `bench`; loads the driver's library
    except ImportError as error:
        raise NoGpuFigures(f"nvidia-ml-py is not installed ({error})") from error

    def read() -> float:
        try:
            return statistics.fmean(
                pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100 for handle in handles
            )
        except pynvml.NVMLError as error:
            raise NoGpuFigures(f"{NVML}: {error}") from error

    try:
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
    except pynvml.NVMLError as error:
        raise NoGpuFigures(f"{NVML}: {error}") from error
    if not handles:
        raise NoGpuFigures(f"{NVML} lists no GPU")
    read()  # where a figure is not supported, that shows now
    return read
