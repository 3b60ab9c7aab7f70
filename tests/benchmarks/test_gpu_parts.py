"""What the GPU's table is made of: arithmetic counted, utilisation sampled, the ceiling."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pynvml
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from thyroid_benchmarks.gpu_ceiling import Ceiling, measure_ceiling
from thyroid_benchmarks.gpu_watch import (
    NVML,
    TRITON_METRIC,
    NoGpuFigures,
    Utilisation,
    find_watch,
    utilisation_of,
)
from thyroid_benchmarks.network_flop import flop_per_case
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import network_path
from thyroid_training.checkpoint import load_classification_graph, load_segmentation_graph

# --- how much arithmetic


def write(file: Path, node: onnx.NodeProto, weights: dict[str, list[int]]) -> Path:
    """One operator on x, FP32 [batch, 4, 6, 6], unless the node is a Gemm: [batch, 4]."""
    sides = [4] if node.op_type == "Gemm" else [4, 6, 6]
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *sides])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            helper.make_tensor(
                name, TensorProto.FLOAT, shape, [0.0] * int(torch.Size(shape).numel())
            )
            for name, shape in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)
    return file


@pytest.mark.parametrize(
    ("node", "weights", "flop"),
    [
        # Each of 8 x 4 x 4 outputs is a sum over 2 channels and 3 x 3 pixels.
        (helper.make_node("Conv", ["x", "w"], ["y"], group=2), {"w": [8, 2, 3, 3]}, 2 * 128 * 18),
        # 4 x 6 rows and 5 columns, each a sum over 6.
        (helper.make_node("MatMul", ["x", "w"], ["y"]), {"w": [6, 5]}, 2 * 4 * 6 * 5 * 6),
        (
            helper.make_node("Gemm", ["x", "w", "c"], ["y"], transB=1),
            {"w": [7, 4], "c": [7]},
            2 * 7 * 4,
        ),
        (helper.make_node("Relu", ["x"], ["y"]), {}, 0),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_products_are_counted(
    tmp_path: Path, node: onnx.NodeProto, weights: dict[str, list[int]], flop: float
) -> None:
    assert flop_per_case(write(tmp_path / "model.onnx", node, weights)) == flop


def test_an_operator_that_nobody_counts_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up")
    with pytest.raises(ValueError, match=r"up in .* is a ConvTranspose; Conv, Gemm, MatMul can"):
        flop_per_case(write(tmp_path / "model.onnx", node, {"w": [4, 1, 2, 2]}))


@pytest.mark.parametrize("name", [model.name for model in contract.NETWORKS])
def test_the_shipped_networks_have_as_much_as_torch_counts(
    name: str, model_repository: Path
) -> None:
    file = network_path(model_repository, name)
    counter = FlopCounterMode(display=False)
    # Plain products: the counter passes over the fused attention of the CPU.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        if name == contract.TRANSUNET.name:
            load_segmentation_graph(file)(torch.zeros(1, *contract.FRAME.shape, dtype=torch.uint8))
        else:
            load_classification_graph(file)(
                torch.zeros(1, *contract.ROI.shape, dtype=torch.uint8),
                torch.ones(1, 1, dtype=torch.bool),
                torch.zeros(1, 1),
            )
    assert flop_per_case(file) == pytest.approx(counter.get_total_flops(), rel=0.001)


# --- how busy

PAGE = """\
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.25
nv_gpu_utilization{gpu_uuid="GPU-2"} 0.75
nv_gpu_power_usage{gpu_uuid="GPU-1"} 61.4
"""


@pytest.fixture
def triton() -> Iterator[tuple[str, Callable[[str], None]]]:
    """The address of metrics, and a way to change the page."""
    pages = [PAGE]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as http.server calls it
            assert self.path == "/metrics"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(pages[0].encode())

        def log_message(self, format: str, *args: Any) -> None: ...  # likewise

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"127.0.0.1:{server.server_port}", lambda page: pages.__setitem__(0, page)
        server.shutdown()


class FakeNvml(ModuleType):
    """The functions of pynvml that are used, on two GPUs; `fault` is raised by the first call."""

    NVMLError = pynvml.NVMLError

    def __init__(self, fault: pynvml.NVMLError | None = None) -> None:
        super().__init__("pynvml")
        self.fault = fault

    def nvmlInit(self) -> None:  # noqa: N802
        if self.fault is not None:
            raise self.fault

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        rates = pynvml.c_nvmlUtilization_t()
        rates.gpu = [100, 40][handle]
        return rates


def test_the_driver_s_library_has_every_name_that_is_used() -> None:
    used = [name for name in vars(FakeNvml) if name.startswith("nvml")]
    assert len(used) == 4
    assert [name for name in used if not callable(getattr(pynvml, name, None))] == []


def collected(watch: Any, at_least: int) -> list[float]:
    samples: list[float] = []
    with watch.watching(samples):
        deadline = time.monotonic() + 20
        while len(samples) < at_least and time.monotonic() < deadline:
            time.sleep(0.01)
    return samples


def test_the_driver_is_asked_where_the_server_is_here(
    triton: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    watch = find_watch(triton[0], is_local=True)
    assert watch.source == NVML
    samples = collected(watch, 2)
    assert set(samples) == {0.7}
    assert len(samples) >= 2
    # The GPU of a server elsewhere is not this machine's.
    assert find_watch(triton[0], is_local=False).source == TRITON_METRIC


def test_triton_is_asked_where_the_driver_does_not_tell(
    triton: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(fault))
    watch = find_watch(triton[0], is_local=True)
    assert watch.source == TRITON_METRIC
    assert set(collected(watch, 1)) == {0.5}


def test_where_nobody_tells_all_reasons_are_given(
    triton: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, put = triton
    put("nv_cpu_utilization 0.3\n")
    fault = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(fault))
    with pytest.raises(NoGpuFigures, match=r"NVML Shared .*; Triton's metrics have no nv_gpu_util"):
        find_watch(address, is_local=True)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NoGpuFigures, match=r"nvidia-ml-py is not installed"):
        find_watch(address, is_local=True)
    with pytest.raises(NoGpuFigures, match=r"metrics cannot be read"):
        find_watch("127.0.0.1:9", is_local=False)


def test_a_sample_that_cannot_be_had_is_left_out(triton: Any) -> None:
    address, put = triton
    watch = find_watch(address, is_local=False)
    put("")
    time.sleep(0.05)
    samples: list[float] = []
    with watch.watching(samples):
        time.sleep(0.3)
    assert samples == []
    assert utilisation_of(samples) is None
    assert utilisation_of([0.5, 1.0]) == Utilisation(0.75, 1.0, 2)


# --- the ceiling


def test_shares_are_of_each_type_s_own_ceiling() -> None:
    assert Ceiling({"fp32": 4e13, "fp16": 2e14}).shares(2e13) == {"fp32": 0.5, "fp16": 0.1}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is what is said without a GPU")
def test_without_a_gpu_the_ceiling_is_absent_and_says_why() -> None:
    ceiling = measure_ceiling()
    assert ceiling.flop_per_s == {}
    assert f"torch {torch.__version__} finds no GPU" in ceiling.absence
