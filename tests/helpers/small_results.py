"""Results of benchmarks with round, made-up figures, shaped as `results.document` writes them."""

from __future__ import annotations

from typing import Any

VALID = {"word": "VALID", "reasons": [], "checks": [{"name": "duration", "passed": True}]}
DRIFTED = {
    "word": "INVALID",
    "reasons": ["drift: 12.0% between the halves, wanted 10% or less"],
    "checks": [{"name": "drift", "passed": False}],
}


FIGURES = ("rate_per_s", "p50_ms", "p95_ms", "server_cpu_ms")


def estimate(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def run(
    name: str,
    rate: float,
    *,
    p50_ms: float = 100.0,
    efficiency: dict[str, Any] | None = None,
    verdict: dict[str, Any] = VALID,
    failures: dict[str, int] | None = None,
    **parts: Any,
) -> dict[str, Any]:
    """A run: its rate is sure to 1/s, its latencies to 2 ms; p90 is twice p50, p95 three times."""
    names = {"50": 1, "90": 2, "95": 3, "99": 4}
    return {
        "scenario": {
            "name": name,
            "loop": "open" if " at " in name else "closed",
            "bound_ms": 1000.0,
        },
        "summary": {
            "duration_s": 20.0,
            "requests": 200,
            "failures": failures or {},
            "turned_away_share": (failures or {}).get("ServerOverloaded", 0) / 200,
            "rate_per_s": estimate(rate, rate - 1, rate + 1),
            "goodput_per_s": estimate(rate - 0.5, rate - 1.5, rate + 0.5),
            "latency_ms": {
                percent: estimate(p50_ms * factor, p50_ms * factor - 2, p50_ms * factor + 2)
                for percent, factor in names.items()
            },
            "windows": [{"rate_per_s": rate}],
        },
        "observed": {"memory": None},
        "verdict": verdict,
        "breakdown": None,
        "efficiency": efficiency,
        "pipeline_efficiency": None,
        "core_use": None,
        "server_cpu_ms": 1000.0 / rate,
        **parts,
    }


def document(**parts: Any) -> dict[str, Any]:
    """A result with these parts in the place of the empty ones."""
    return {
        "schema": 3,
        "started": "2026-01-01T00:00:00+00:00",
        "machine": {
            "processor": "Abacus",
            "cores": 2,
            "cores_of_machine": 4,
            "memory_bytes": 8 * 2**30,
            "system": "Linux x86_64",
            "python": "3.11.0",
        },
        "versions": {"onnxruntime": "1.20", "torch": None},
        "commit": {"commit": "0123456789abcdef", "changed": False},
        "seeds": {"pool": 1, "order": 2},
        "pool": {"images": 10, "nodule": 7, "no_nodule": 2, "corrupt": 1, "mean_bytes": 12345},
        "server": {"weights": "cafe"},
        "floor": None,
        "runs": [],
        "knee": None,
        **parts,
    }


FLOOR = {
    "cores": 2,
    "sequential_per_s": estimate(10.0, 9.5, 10.5),
    "sequential_ms": estimate(97.0, 96.0, 98.0),
    "parallel_per_s": estimate(16.0, 15.0, 17.0),
    "parallel_ms": estimate(125.0, 124.0, 126.0),
    "gain": estimate(1.6, 1.5, 1.7),
    "network_ms": {"transunet": estimate(60.0, 59.0, 61.0)},
    "pipeline": {
        "sequential_per_s": estimate(8.0, 7.5, 8.5),
        "sequential_ms": estimate(120.0, 119.0, 121.0),
        "parallel_per_s": estimate(14.0, 13.0, 15.0),
        "parallel_ms": estimate(140.0, 139.0, 141.0),
    },
}


def ratio(value: float, reach: float, rounds: int = 2) -> dict[str, float | None]:
    """A ratio of so many rounds, as far below its value as above."""
    return {**estimate(value, value - reach, value + reach), "rounds": rounds}


def point(
    clients: int, rate: float, over_ours: float, verdicts: tuple[dict[str, Any], ...] = (VALID,)
) -> dict[str, Any]:
    """Of a comparison: its ratios reach from 0.1 below to 0.1 above, p95 from 490 to 510 ms."""
    title = f"{clients} clients"
    return {
        "clients": clients,
        "counted": verdicts.count(VALID),
        "rate_per_s": estimate(rate, rate - 0.5, rate + 0.5),
        "p50_ms": estimate(300.0, 290.0, 310.0),
        "p95_ms": estimate(500.0, 490.0, 510.0),
        "server_cpu_ms": estimate(1000.0 / rate, 900.0 / rate, 1100.0 / rate),
        "ratios": {name: ratio(over_ours, 0.1) for name in FIGURES},
        "runs": [{"round": 0, **run(title, rate, verdict=verdict)} for verdict in verdicts],
    }


def missing_point(clients: int) -> dict[str, Any]:
    """Of a contestant that was not measured."""
    nothing = dict.fromkeys(FIGURES)
    return {"clients": clients, "counted": 0, **nothing, "ratios": nothing, "runs": []}


def contestant(name: str, points: list[dict[str, Any]], fault: str | None = None) -> dict[str, Any]:
    return {
        "title": name,
        "name": name,
        "layout": "",
        "tuned": f"how {name} is | was",
        "versions": {name: "1.0"},
        "fault": fault,
        "points": points,
    }


def comparison(
    ratios: dict[int, tuple[float, float]],
    contestants: list[dict[str, Any]],
    invalid: list[dict[str, Any]] | None = None,
    best: str = "quick",
) -> dict[str, Any]:
    """A comparison; `ratios` are of rate and p95 over the best by clients, each within 0.02."""
    return {
        "clients": list(ratios),
        "rounds": 2,
        "duration_s": 12,
        "contestants": contestants,
        "invalid": invalid or [],
        "best": [
            {
                "clients": clients,
                "rate": ratio(rate, 0.02, rounds=4),
                "p95": ratio(p95, 0.02, rounds=4),
                "titles": {"rate": best, "p95": best},
                "rounds": 4,
                "figures": {
                    name: {figure: values[figure] for figure in FIGURES}
                    for name, values in (
                        ("ours", point(clients, 8.0, 1.0)),
                        (best, point(clients, 8.0 / rate, 1 / rate)),
                    )
                },
                "verdicts": ["VALID"] * 8,
                "faults": {},
                "reasons": [],
            }
            for clients, (rate, p95) in ratios.items()
        ],
    }


def checked(ours: float, theirs: float, *, agrees: bool, reasons: list[str]) -> dict[str, Any]:
    """A cross-check of one point and one figure."""
    return {
        "allowed": 0.1,
        "fault": None,
        "points": [
            {
                "scenario": {"name": "1 clients"},
                "figures": {
                    "p50_ms": {
                        "ours": [ours],
                        "perf_analyzer": [theirs],
                        "ratio": estimate(theirs / ours, theirs / ours, theirs / ours),
                        "agrees": agrees,
                    }
                },
                "reasons": reasons,
                "verdicts": ["VALID"],
            }
        ],
    }
