"""Runs a plan of TensorRT for RTX for batches of requests.

The Triton side of it is `backends/tensorrt_rtx`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from thyroid_pipeline.plan_manifest import Runtime
from thyroid_server.cuda_buffers import (
    CudaBuffers,
    CudaError,
    InputError,
    Layout,
    choose_device,
    load_cuda,
)
from thyroid_server.request_batches import Batches, Failure, Job, Tensors
from thyroid_server.rtx_engine import RtxEngine, check_config, load_library
from thyroid_server.rtx_kernels import kernels_folder
from thyroid_server.triton_requests import Log

# The parameter of a model's config that has the library record and replay its work: "1" or "0".
CUDA_GRAPHS = "cuda_graphs"
# What this process ends with once CUDA refuses everything further in it.
GPU_LOST_EXIT_CODE = 70  # EX_SOFTWARE


def end_process(error: CudaError) -> NoReturn:
    """End this process, Triton's stub, after an error that lasts.

    Every later request to it would fail, while Triton goes on calling itself ready. That a stub is
    gone `thyroid-serve` sees, and ends, so that whoever supervises it starts it again.

    Args:
        error: What CUDA said, for the server's log.
    """
    words = "; ".join(line.strip() for line in str(error).splitlines())
    # Not by Triton's logger, which hands messages over in its own time: there is none left.
    print(f"error: {words}", file=sys.stderr, flush=True)
    os._exit(GPU_LOST_EXIT_CODE)


class RtxModel:
    """A plan on one GPU, ready to run: engine, context, stream and memory of one instance.

    Use it from one thread at a time.
    """

    def __init__(
        self,
        trt: Any,
        cuda: Any,
        file: Path,
        config: Mapping[str, Any],
        device: int = 0,
        *,
        kept: Path | None = None,
        end: Callable[[CudaError], object] = end_process,
    ) -> None:
        """Load the plan, see that the configuration fits it, and take all memory that it needs.

        Args:
            trt: Module of the library, see `load_library`.
            cuda: Module of the CUDA runtime, see `load_cuda`.
            file: The plan.
            config: The model configuration, as Triton hands it to a Python model.
            device: The GPU's number.
            kept: The folder in which the GPU's kernels are kept; None keeps none.
            end: Called when a run fails so that no later one can succeed in this process.

        Raises:
            CudaError: There is no such GPU, or not enough memory.
            PlanError: The plan is missing, is not taken, or does not fit the configuration.
        """
        with ExitStack() as stack:
            choose_device(cuda, device)
            engine = RtxEngine(
                trt,
                file,
                cuda_graphs=_wants_graphs(config),
                kept=None if kept is None else kept / f"gpu-{device}",
            )
            stack.callback(engine.close)
            check_config(engine, config, file)
            layouts = {
                tensor.name: Layout((engine.batches[1], *tensor.shape[1:]), tensor.dtype)
                for tensor in engine.tensors
                if tensor.dtype is not None
            }
            buffers = CudaBuffers(cuda, device, layouts)
            stack.callback(buffers.close)
            engine.bind({name: buffers.address(name) for name in layouts})
            self._held = stack.pop_all()
        self._cuda, self._device = cuda, device
        self._engine, self._buffers = engine, buffers
        self._end = end
        self._has_run = False
        self._inputs = [tensor.name for tensor in engine.tensors if tensor.is_input]
        self._outputs = [tensor.name for tensor in engine.tensors if not tensor.is_input]
        self._batches = Batches(self._run, is_batched=True, refusals=(InputError,))
        self.warnings = engine.warnings

    def run(self, jobs: Sequence[Job]) -> list[Tensors | Failure]:
        """Answer several requests, see `Batches.answer`."""
        return self._batches.answer(jobs)

    def close(self) -> None:
        """Give engine and memory back. May be called again.

        Raises:
            CudaError: CUDA refuses, as it does after a failure on the GPU; all was tried.
        """
        if self._has_run:
            # Those of the batch sizes that came since the first run, too.
            self._engine.keep_kernels()
            self._has_run = False
        self._held.close()

    def _run(self, inputs: Tensors, wanted: frozenset[str]) -> Tensors:
        try:
            outputs = self._run_on_gpu(inputs, wanted)
        except CudaError as error:
            if error.is_lasting:
                self._end(error)
            raise
        if not self._has_run:
            self._engine.keep_kernels()
            self._has_run = True
        return outputs

    def _run_on_gpu(self, inputs: Tensors, wanted: frozenset[str]) -> Tensors:
        names = [name for name in self._outputs if not wanted or name in wanted]
        batch = len(inputs[self._inputs[0]])
        # Triton may call from another thread than that which loaded the model.
        choose_device(self._cuda, self._device)
        try:
            for name in self._inputs:
                self._buffers.send(name, inputs[name])
            self._engine.enqueue(batch, self._buffers.stream)
            for name in names:
                self._buffers.fetch(name, batch)
        finally:
            # What is under way reads and writes this instance's memory, whatever came between.
            self._buffers.synchronise()
        return {name: self._buffers.read(name, batch) for name in names}


def load_for_serving(arguments: Mapping[str, str], log: Log) -> RtxModel:
    """Load the model that Triton asks a Python-based backend to serve.

    Args:
        arguments: What Triton hands to `initialize`.
        log: Triton's.

    Raises:
        CudaError: There is no GPU for it, or not enough memory.
        LibraryError: TensorRT for RTX, or the CUDA bindings, are not installed.
        PlanError: The plan is missing, is not taken, or does not fit the configuration.
    """
    config = json.loads(arguments["model_config"])
    file = (
        Path(arguments["model_repository"])
        / arguments["model_version"]
        / (config.get("default_model_filename") or Runtime.RTX.plan_file)
    )
    device = int(arguments["model_instance_device_id"])
    model = RtxModel(load_library(), load_cuda(), file, config, device, kept=kernels_folder())
    for warning in model.warnings:
        log.log_warn(f"{arguments['model_name']}: {warning}")
    return model


def _wants_graphs(config: Mapping[str, Any]) -> bool:
    entry = config.get("parameters", {}).get(CUDA_GRAPHS)
    return entry is not None and entry["string_value"] == "1"
