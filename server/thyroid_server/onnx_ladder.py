"""One ONNX file in several sessions, each for another number of threads."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import onnxruntime

from thyroid_server.core_pool import PATIENCE_S, CorePool, Loan
from thyroid_server.onnx_config import session_options

# More threads than this gain little on networks of this size, and each session costs memory.
MOST_THREADS = 8
_PROVIDERS = ["CPUExecutionProvider"]
_SHARED_ARENA = "session.use_env_allocators"


class Observer(Protocol):
    """Is told of every run, after its cores have been given back."""

    def note(self, threads: int, loan: Loan) -> None:
        """Take note of a run on so many threads; `loan.cores` is 0 where it got no core."""


def rungs(cores: int) -> tuple[int, ...]:
    """Numbers of threads to have sessions for: powers of two, and all cores where they are few.

    Args:
        cores: That a server shares, from 1.
    """
    most = min(cores, MOST_THREADS)
    powers = [1 << exponent for exponent in range(most.bit_length())]
    return tuple(sorted({*powers, most}))


class LadderSession:
    """Runs each request in the session for as many threads as it is lent cores.

    It stands in for an `InferenceSession`. The sessions do not run at the same time, so that they
    share one arena for what is computed; weights, laid out for the processor, each has its own.
    """

    def __init__(
        self,
        file: Path,
        config: Mapping[str, Any],
        pool: CorePool,
        observer: Observer,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Load the file once for each rung.

        Args:
            file: The ONNX file.
            config: The model configuration; its `intra_op_thread_count` does not count here.
            pool: Lends the cores.
            observer: Is told of every run.
            patience_s: How long a request waits for a core before it goes on without one, on one
                thread, which only a process that hangs can cause.
        """
        _share_arena()
        self._sessions = {
            threads: onnxruntime.InferenceSession(
                str(file), _options(config, threads), providers=_PROVIDERS
            )
            for threads in rungs(pool.cores)
        }
        _return_free_memory()
        self._sizes: Sequence[int] = tuple(self._sessions)
        self._pool = pool
        self._observer = observer
        self._patience_s = patience_s

    def get_inputs(self) -> list[Any]:
        """As of an `InferenceSession`."""
        inputs: list[Any] = self._sessions[1].get_inputs()
        return inputs

    def get_outputs(self) -> list[Any]:
        """As of an `InferenceSession`."""
        outputs: list[Any] = self._sessions[1].get_outputs()
        return outputs

    def run(self, names: Sequence[str], inputs: Mapping[str, Any], options: Any) -> list[Any]:
        """As of an `InferenceSession`."""
        with self._pool.borrow(self._sizes, self._patience_s) as loan:
            threads = max(loan.cores, 1)
            arrays: list[Any] = self._sessions[threads].run(names, inputs, options)
        self._observer.note(threads, loan)
        return arrays


def _options(config: Mapping[str, Any], threads: int) -> onnxruntime.SessionOptions:
    options = session_options(config)
    options.intra_op_num_threads = threads
    if options.enable_cpu_mem_arena:
        options.add_session_config_entry(_SHARED_ARENA, "1")
    return options


@functools.cache
def _share_arena() -> None:
    """Make the process's shared arena, which may be done once."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu",
        onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        onnxruntime.OrtMemType.DEFAULT,
    )
    onnxruntime.create_and_register_allocator(memory, None)


def _return_free_memory() -> None:
    """Give the system back what loading left: copies of the weights in other precisions and orders.

    glibc keeps freed memory for the process; other C libraries have no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
