"""What a GPU can do at most: large matrix products, measured; and the share of it that is used."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from thyroid_benchmarks.preparation import in_a_process

# Large enough to keep every unit busy, small enough for any GPU: half a gigabyte in FP32.
_SIDE = 8192
_ROUNDS = 20
_WARM_UP = 3


@dataclass(frozen=True)
class Ceiling:
    """The measured ceiling.

    Attributes:
        flop_per_s: Floating-point operations per second by type; empty where nothing was measured.
        absence: Why nothing was measured; empty where something was.
    """

    flop_per_s: dict[str, float] = field(default_factory=dict)
    absence: str = ""

    def shares(self, achieved_flop_per_s: float) -> dict[str, float]:
        """The share of each type's ceiling that so many operations a second are."""
        return {kind: achieved_flop_per_s / most for kind, most in self.flop_per_s.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for a report."""
        return {"flop_per_s": self.flop_per_s, "absence": self.absence or None}


def measure_ceiling() -> Ceiling:
    """Multiply square matrices on the first GPU, in a process of its own; it should be idle."""
    return in_a_process(_measure)


def _measure() -> Ceiling:
    import torch  # noqa: PLC0415  # in this process alone

    if not torch.cuda.is_available():
        return Ceiling(absence=f"torch {torch.__version__} finds no GPU that it can use")
    make_event: Callable[..., Any] = torch.cuda.Event
    kinds = {"fp32": torch.float32, "tf32": torch.float32}
    kinds |= {"fp16": torch.float16, "bf16": torch.bfloat16}
    found = {}
    for name, kind in kinds.items():
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        left, right = (torch.randn(_SIDE, _SIDE, device="cuda", dtype=kind) for _ in range(2))
        times_ms = []
        for _ in range(_WARM_UP + _ROUNDS):
            begin, end = make_event(enable_timing=True), make_event(enable_timing=True)
            begin.record()
            torch.matmul(left, right)
            end.record()
            end.synchronize()
            times_ms.append(begin.elapsed_time(end))
        found[name] = 2.0 * _SIDE**3 / (statistics.median(times_ms[_WARM_UP:]) / 1000)
    return Ceiling(found)
