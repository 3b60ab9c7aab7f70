"""The floor: what one process without a server does, on the same cores and the same images.

There are two. *The networks alone*: frames and regions are made beforehand, and only the two
networks' runs are timed; no server that runs these networks by this runtime on these cores can be
faster. *The whole pipeline*: from the encoded image by decoder, sector, cropper, networks and
forest to an encoded answer; so much is left of the first floor once the rest of the work is done,
before anything is served.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import onnxruntime

from thyroid_benchmarks.estimates import Estimate, mean, paired_ratio, percentile
from thyroid_benchmarks.peers.screener import Screener
from thyroid_benchmarks.peers.settings import PeerSettings
from thyroid_benchmarks.pool import Pool
from thyroid_pipeline import contract
from thyroid_pipeline.steps import crop_batch, decode_batch
from thyroid_server.onnx_config import session_options

Arrays = dict[str, npt.NDArray[Any]]
Way: TypeAlias = Literal["sequential", "parallel"]
Work: TypeAlias = Callable[[Arrays], dict[str, float]]
"""Runs one case; returns the seconds of each of its parts."""

_NETWORKS, _PIPELINE = "networks", "pipeline"


@dataclass(frozen=True)
class Ways:
    """How fast cases go in one process, in two ways.

    Attributes:
        sequential_per_s: Cases per second, one after another, each on all cores.
        sequential_ms: Median time of a case so, with its interval.
        parallel_per_s: Cases per second, as many at once as there are cores, each on one thread.
        parallel_ms: Median time of a case so.
    """

    sequential_per_s: Estimate
    sequential_ms: Estimate
    parallel_per_s: Estimate
    parallel_ms: Estimate

    def per_s(self, way: Way) -> Estimate:
        """Return the rate of a way."""
        return self.sequential_per_s if way == "sequential" else self.parallel_per_s

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for a report."""
        return {
            "sequential_per_s": self.sequential_per_s.as_dict(),
            "sequential_ms": self.sequential_ms.as_dict(),
            "parallel_per_s": self.parallel_per_s.as_dict(),
            "parallel_ms": self.parallel_ms.as_dict(),
        }


@dataclass(frozen=True)
class Floor(Ways):
    """What the networks alone can do, and what the whole pipeline can.

    Attributes:
        cores: How many were used.
        gain: `parallel_per_s` over `sequential_per_s`, over the rounds, with their spread.
        network_ms: Median time of each network in the sequential way, by name.
        pipeline: From the encoded image to the encoded answer; None where it was not measured.
    """

    cores: int
    gain: Estimate
    network_ms: dict[str, Estimate]
    pipeline: Ways | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for a report."""
        return {
            "cores": self.cores,
            **super().as_dict(),
            "gain": self.gain.as_dict(),
            "network_ms": {name: value.as_dict() for name, value in self.network_ms.items()},
            "pipeline": None if self.pipeline is None else self.pipeline.as_dict(),
        }


class Networks:
    """Both networks in sessions of their own.

    Args:
        model_repository: Where their ONNX files are.
        threads: Of each session. They do not spin: two sessions that spin take the cores from each
            other.
    """

    def __init__(self, model_repository: Path, threads: int) -> None:
        options = {
            "parameters": {
                "intra_op_thread_count": {"string_value": str(threads)},
                "inter_op_thread_count": {"string_value": "1"},
            }
        }
        self._sessions = {
            model.name: onnxruntime.InferenceSession(
                str(model_repository / model.name / contract.MODEL_VERSION / contract.ONNX_FILE),
                session_options(options),
                providers=["CPUExecutionProvider"],
            )
            for model in contract.NETWORKS
        }

    def run(self, name: str, known: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Run one network on what it takes of the known tensors, all of batch 1."""
        session = self._sessions[name]
        inputs = {node.name: known[node.name] for node in session.get_inputs()}
        names = [node.name for node in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))


def prepare_cases(
    pool: Pool, model_repository: Path, count: int, parameters: contract.CropperParameters
) -> list[Arrays]:
    """Run the first sound images through all steps, so that every network's input is at hand.

    Returns:
        For each image the tensors between the steps, by name.
    """
    networks = Networks(model_repository, threads=1)
    sound = [
        content
        for case, content in zip(pool.cases, pool.contents, strict=True)
        if case.kind != "corrupt"
    ]
    cases = []
    for content in sound[:count]:
        known: Arrays = {contract.IMAGE.name: np.array([[content]], dtype=np.object_)}
        known |= decode_batch(known)
        known |= networks.run(contract.TRANSUNET.name, known)
        known |= crop_batch(known, parameters)
        cases.append(known)
    return cases


def measure_floor(
    cases: Sequence[Arrays],
    model_repository: Path,
    cores: int,
    parameters: contract.CropperParameters,
    *,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Floor:
    """Measure networks and pipeline, each in both ways, in turns: what slows one slows all.

    Args:
        cases: From `prepare_cases`, at least one; each round runs all of them four times.
        model_repository: Where the ONNX files are.
        cores: How many to use.
        parameters: The cropper's.
        rounds: How often, from 1; one more before them warms up and is not counted.
        clock: Seconds.

    Raises:
        ValueError: There is no case, or `rounds` or `cores` is below 1.
    """
    if not cases or rounds < 1 or cores < 1:
        raise ValueError(
            f"{len(cases)} cases, {rounds} rounds and {cores} cores came; at least 1 of each was "
            "wanted: give a pool with images that can be screened"
        )
    threads: dict[Way, list[int]] = {"sequential": [cores], "parallel": [1] * cores}
    makers: dict[str, Callable[[int], Work]] = {
        _NETWORKS: lambda count: _networks_work(Networks(model_repository, count), clock),
        _PIPELINE: lambda count: _pipeline_work(model_repository, count, parameters, clock),
    }
    workers = {
        (what, way): [make(count) for count in counts]
        for what, make in makers.items()
        for way, counts in threads.items()
    }
    rates: dict[tuple[str, Way], list[float]] = {key: [] for key in workers}
    times: dict[tuple[str, Way], list[dict[str, float]]] = {key: [] for key in workers}
    for number in range(rounds + 1):
        for key, own in workers.items():
            rate, cases_s = _one_round(own, cases, clock)
            if number > 0:
                rates[key].append(rate)
                times[key] += cases_s
    alone: tuple[str, Way] = (_NETWORKS, "sequential")
    return Floor(
        **_ways(rates, times, _NETWORKS),
        cores=cores,
        gain=paired_ratio(rates[_NETWORKS, "parallel"], rates[alone]),
        network_ms={
            model.name: percentile(np.array([1000 * case[model.name] for case in times[alone]]), 50)
            for model in contract.NETWORKS
        },
        pipeline=Ways(**_ways(rates, times, _PIPELINE)),
    )


def _ways(
    rates: Mapping[tuple[str, Way], list[float]],
    times: Mapping[tuple[str, Way], list[dict[str, float]]],
    what: str,
) -> dict[str, Estimate]:
    """Return the fields of `Ways`."""
    found = {}
    for way in get_args(Way):
        in_ms = np.array([1000 * sum(case.values()) for case in times[what, way]])
        found[f"{way}_per_s"] = mean(rates[what, way])
        found[f"{way}_ms"] = percentile(in_ms, 50)
    return found


def _networks_work(networks: Networks, clock: Callable[[], float]) -> Work:
    def work(case: Arrays) -> dict[str, float]:
        seconds = {}
        for model in contract.NETWORKS:
            started = clock()
            networks.run(model.name, case)
            seconds[model.name] = clock() - started
        return seconds

    return work


def _pipeline_work(
    model_repository: Path,
    threads: int,
    parameters: contract.CropperParameters,
    clock: Callable[[], float],
) -> Work:
    """Screen as a peer's server does, without the server."""
    screener = Screener(
        PeerSettings(
            model_repository=str(model_repository),
            port=0,
            at_once=1,
            threads=threads,
            batch=1,
            cropper=asdict(parameters),
            scratch="",
        )
    )

    def work(case: Arrays) -> dict[str, float]:
        started = clock()
        screener.screen(case[contract.IMAGE.name].item())
        return {_PIPELINE: clock() - started}

    return work


def _one_round(
    workers: Sequence[Work], cases: Sequence[Arrays], clock: Callable[[], float]
) -> tuple[float, list[dict[str, float]]]:
    """Run every case once, shared out among threads that each have their own networks.

    Returns:
        Cases per second, the sum of the threads' own rates: one that waits for the last case of
        another would else count as slow. And for each case the seconds of each of its parts.
    """
    waiting = iter(list(cases))
    lock = threading.Lock()

    def run(work: Work) -> tuple[float, list[dict[str, float]]]:
        done: list[dict[str, float]] = []
        begun = clock()
        while True:
            with lock:
                case = next(waiting, None)
            if case is None:
                return len(done) / max(clock() - begun, 1e-9), done
            done.append(work(case))

    with ThreadPoolExecutor(len(workers)) as threads:
        results = list(threads.map(run, workers))
    return sum(rate for rate, _ in results), [case for _, done in results for case in done]
