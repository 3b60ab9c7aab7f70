"""The floor: the two networks alone, in one process, on the same cores and the same images.

No server that runs these networks by this runtime on these cores can be faster. Frames and regions
are made beforehand; only the networks' runs are timed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from thyroid_benchmarks.estimates import Estimate, mean, paired_ratio, percentile
from thyroid_benchmarks.pool import Pool
from thyroid_pipeline import contract
from thyroid_pipeline.steps import crop_batch, decode_batch
from thyroid_server.onnx_config import session_options

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Floor:
    """What the networks alone can do.

    Attributes:
        cores: How many were used.
        sequential_per_s: Cases per second, one after another, each on all cores.
        sequential_ms: Median time of a case so, with its interval.
        parallel_per_s: Cases per second, as many at once as there are cores, each on one thread.
        parallel_ms: Median time of a case so.
        gain: `parallel_per_s` over `sequential_per_s`, over the rounds, with their spread.
        network_ms: Median time of each network in the sequential way, by name.
    """

    cores: int
    sequential_per_s: Estimate
    sequential_ms: Estimate
    parallel_per_s: Estimate
    parallel_ms: Estimate
    gain: Estimate
    network_ms: dict[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for a report."""
        return {
            "cores": self.cores,
            "sequential_per_s": self.sequential_per_s.as_dict(),
            "sequential_ms": self.sequential_ms.as_dict(),
            "parallel_per_s": self.parallel_per_s.as_dict(),
            "parallel_ms": self.parallel_ms.as_dict(),
            "gain": self.gain.as_dict(),
            "network_ms": {name: value.as_dict() for name, value in self.network_ms.items()},
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
    *,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Floor:
    """Measure both ways in turns, so that a machine that slows down slows both.

    Args:
        cases: From `prepare_cases`, at least one; each round runs all of them in both ways.
        model_repository: Where the ONNX files are.
        cores: How many to use.
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
    together = Networks(model_repository, cores)
    apart = [Networks(model_repository, 1) for _ in range(cores)]
    rates: dict[str, list[float]] = {"sequential": [], "parallel": []}
    times: dict[str, list[dict[str, float]]] = {"sequential": [], "parallel": []}
    for number in range(rounds + 1):
        for way, networks in (("sequential", [together]), ("parallel", apart)):
            rate, cases_s = _one_round(networks, cases, clock)
            if number > 0:
                rates[way].append(rate)
                times[way] += cases_s
    in_ms = {way: [1000 * sum(case.values()) for case in times[way]] for way in times}
    return Floor(
        cores=cores,
        sequential_per_s=mean(rates["sequential"]),
        sequential_ms=percentile(np.array(in_ms["sequential"]), 50),
        parallel_per_s=mean(rates["parallel"]),
        parallel_ms=percentile(np.array(in_ms["parallel"]), 50),
        gain=paired_ratio(rates["parallel"], rates["sequential"]),
        network_ms={
            model.name: percentile(
                np.array([1000 * case[model.name] for case in times["sequential"]]), 50
            )
            for model in contract.NETWORKS
        },
    )


def _one_round(
    networks: Sequence[Networks], cases: Sequence[Arrays], clock: Callable[[], float]
) -> tuple[float, list[dict[str, float]]]:
    """Run every case once, shared out among threads that each have their own networks.

    Returns:
        Cases per second, the sum of the threads' own rates: one that waits for the last case of
        another would else count as slow. And for each case the seconds of each network.
    """
    waiting = iter(list(cases))
    lock = threading.Lock()

    def work(own: Networks) -> tuple[float, list[dict[str, float]]]:
        done: list[dict[str, float]] = []
        begun = clock()
        while True:
            with lock:
                case = next(waiting, None)
            if case is None:
                return len(done) / max(clock() - begun, 1e-9), done
            done.append({})
            for model in contract.NETWORKS:
                started = clock()
                own.run(model.name, case)
                done[-1][model.name] = clock() - started

    with ThreadPoolExecutor(len(networks)) as threads:
        results = list(threads.map(work, networks))
    return sum(rate for rate, _ in results), [case for _, done in results for case in done]
