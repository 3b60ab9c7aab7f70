"""How an instance of a model runs in a server: on cores of the server's pool, and counted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thyroid_server.core_pool import POOL_VARIABLE, CorePool, Loan
from thyroid_server.onnx_config import shares_cores
from thyroid_server.onnx_ladder import LadderSession
from thyroid_server.onnx_session import OnnxModel, Session, load_model, load_session
from thyroid_server.triton_requests import Log

RUNS_METRIC = "thyroid_network_runs_total"
WAIT_METRIC = "thyroid_core_wait_seconds_total"


class RunCounters:
    """Counts a model's runs in Triton's Prometheus metrics.

    `thyroid_network_runs_total` has the labels `model` and `threads`, the number that the run was
    given. `thyroid_core_wait_seconds_total`, with the label `model`, is the time that requests
    waited for a core; Triton's own statistics count it among the inference. Without metrics in the
    server nothing is counted.
    """

    def __init__(self, pb_utils: Any, model: str) -> None:
        """Open the two families.

        Args:
            pb_utils: Triton's module of that name.
            model: The model's name.
        """
        self._model = model
        self._runs: dict[int, Any] = {}
        try:
            counter = pb_utils.MetricFamily.COUNTER
            self._family = pb_utils.MetricFamily(
                name=RUNS_METRIC, description="Runs of a network by their threads", kind=counter
            )
            self._wait_family = pb_utils.MetricFamily(
                name=WAIT_METRIC, description="Time that runs waited for a core", kind=counter
            )
            self._wait = self._wait_family.Metric(labels={"model": model})
        except pb_utils.TritonModelException:  # the server was started without metrics
            self._family = None

    def note(self, threads: int, loan: Loan) -> None:
        """Count one run."""
        if self._family is None:
            return
        if threads not in self._runs:
            labels = {"model": self._model, "threads": str(threads)}
            self._runs[threads] = self._family.Metric(labels=labels)
        self._runs[threads].increment(1)
        self._wait.increment(loan.waited_s)


class _LogOnce:
    """Passes runs on, and says once that one went on without a core."""

    def __init__(self, counters: RunCounters, log: Log, model: str) -> None:
        self._counters = counters
        self._log = log
        self._model = model
        self._has_said = False

    def note(self, threads: int, loan: Loan) -> None:
        self._counters.note(threads, loan)
        if loan.cores == 0 and not self._has_said:
            self._has_said = True
            self._log.log_warn(
                f"{self._model}: a request found no core free within {loan.waited_s:.0f} s and ran "
                "on one thread beside the others; a process of this server seems to hang. This is "
                "said once for each process."
            )


def load_for_serving(arguments: Mapping[str, str], counters: RunCounters, log: Log) -> OnnxModel:
    """Load the model that Triton asks a Python-based backend to serve.

    Args:
        arguments: What Triton hands to `initialize`.
        counters: Count its runs.
        log: Triton's.

    Raises:
        ModelConfigError: The file is missing, or the configuration does not fit it.
        CorePoolError: The variable that names the pool names none.
    """
    folder = os.environ.get(POOL_VARIABLE)
    name = arguments["model_name"]

    def load(file: Path, config: Mapping[str, Any]) -> Session:
        if not shares_cores(config):
            return load_session(file, config)
        if folder is None:
            log.log_info(
                f"{name}: {POOL_VARIABLE} names no pool of cores, as thyroid-serve has one; every "
                "instance runs on the threads of its intra_op_thread_count"
            )
            return load_session(file, config)
        return LadderSession(file, config, CorePool(Path(folder)), _LogOnce(counters, log, name))

    return load_model(arguments, load)
