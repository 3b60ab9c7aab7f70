"""What the builder says when the library, a graph or the machine refuses, or is not there."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import helper

from fake_tensorrt import FakeTensorRT, give, say
from thyroid_export.engine_builder import BuildOptions, build_plan
from thyroid_export.engine_runtime import EngineError, load_runtime, loading_fault, version_of
from thyroid_export.trt_rules import RuleError
from thyroid_pipeline.plan_manifest import BatchProfile, Runtime

BATCH = BatchProfile(1, 8, 16)


def error_of(library: FakeTensorRT, network: Path, cache: bytes | None = None) -> str:
    with pytest.raises(EngineError) as error:
        build_plan(library, network, BuildOptions(BATCH), cache)
    return str(error.value)


def test_no_plan_is_an_error_with_the_library_s_reason(
    library: FakeTensorRT, network: Path
) -> None:
    def fail(network: Any, config: Any) -> None:
        say("ERROR", "could not find any implementation for node conv1\n")(library)

    library.answers["Builder", "build_serialized_network"] = fail
    message = error_of(library, network)
    assert f"built nothing of {network}" in message
    assert "ERROR: could not find any implementation for node conv1." in message
    assert library.__version__ in message


def test_the_node_that_the_parser_refuses_is_named(library: FakeTensorRT, network: Path) -> None:
    error = SimpleNamespace(
        node=give(1),
        node_operator=give("Add"),
        code=give(SimpleNamespace(name="INVALID_NODE")),
        desc=give("mixed types\n(cudaError 35: CUDA driver version is insufficient)"),
    )
    library.answers["OnnxParser", "parse_from_file"] = give(False)
    library.answers["OnnxParser", "num_errors"] = give(1)
    library.answers["OnnxParser", "get_error"] = give(error)
    message = error_of(library, network)
    assert "Add sum (of grey FLOAT, shift FLOAT): INVALID_NODE, mixed types" in message
    assert "cudaError" not in message
    assert "to mend it" in message


def test_a_machine_without_a_gpu_is_told_where_to_build(
    library: FakeTensorRT, network: Path
) -> None:
    def fail(logger: Any) -> None:
        say("ERROR", "CUDA initialization failure with error: 35")(library)
        raise TypeError("pybind11::init(): factory function returned nullptr")

    library.answers["Builder", "__init__"] = fail
    message = error_of(library, network)
    assert "CUDA initialization failure" in message
    assert "--runtime rtx" in message


def test_a_timing_cache_of_another_gpu(library: FakeTensorRT, network: Path) -> None:
    library.answers["IBuilderConfig", "set_timing_cache"] = give(False)
    assert "timing cache is of another GPU" in error_of(library, network, b"foreign")


def test_a_plan_that_does_not_load_is_no_plan(library: FakeTensorRT, network: Path) -> None:
    def fail(plan: Any) -> None:
        say("ERROR", "out of memory (cudaError 2)")(library)

    library.answers["Runtime", "deserialize_cuda_engine"] = fail
    message = error_of(library, network)
    assert "does not load: ERROR: out of memory" in message


def test_a_plan_that_is_not_to_be_tried_is_not_loaded(library: FakeTensorRT, network: Path) -> None:
    library.answers["Runtime", "deserialize_cuda_engine"] = give(None)
    built = build_plan(library, network, BuildOptions(BATCH), try_it=False)
    assert bytes(built.plan) == b"a plan"
    assert library.arguments_of("Runtime", "deserialize_cuda_engine") == []


def test_a_refusal_without_a_reason_is_a_fault_too(library: FakeTensorRT) -> None:
    library.answers["Runtime", "deserialize_cuda_engine"] = give(None)
    assert loading_fault(library, b"x", trusted=False) == "it gave no reason"
    assert library.settings["Runtime", "engine_host_code_allowed"] is False


def test_control_c_ends_the_build_in_good_order(
    library: FakeTensorRT, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bar:
        n, total = 0, 2

        def __init__(self, **_: Any) -> None:
            pass

        def update(self, steps: int) -> None:
            raise KeyboardInterrupt

        def close(self) -> None:
            pass

    monkeypatch.setattr("thyroid_export.engine_progress.tqdm", Bar)
    with pytest.raises(KeyboardInterrupt):
        build_plan(library, network, BuildOptions(BATCH))
    finished = [cls for cls, *_ in library.calls if cls == "Runtime"]
    assert finished == []


def test_a_graph_that_breaks_a_rule_is_not_given_to_the_library(
    library: FakeTensorRT, network: Path
) -> None:
    model = onnx.load(network)
    model.graph.node[1].domain = "my.operators"
    model.opset_import.append(helper.make_opsetid("my.operators", 1))
    onnx.save(model, network)
    with pytest.raises(RuleError, match=r"Add sum of the domain my.operators needs a plugin"):
        build_plan(library, network, BuildOptions(BATCH))
    assert library.calls == []


def test_a_graph_that_is_none(library: FakeTensorRT, network: Path) -> None:
    model = onnx.load(network)
    model.graph.node[1].domain = "my.operators"  # of which the file says nothing
    onnx.save(model, network)
    with pytest.raises(RuleError, match=r"model.onnx holds no valid graph"):
        build_plan(library, network, BuildOptions(BATCH))


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, None], ids=["empty", "other", "cut"])
def test_a_file_that_is_no_onnx(
    library: FakeTensorRT, network: Path, content: bytes | None
) -> None:
    network.write_bytes(network.read_bytes()[:-30] if content is None else content)
    assert f"{network} is no ONNX file" in error_of(library, network)
    assert library.calls == []


# --- the library itself


@pytest.mark.parametrize("runtime", Runtime)
def test_a_missing_library_says_what_to_do(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(package: str) -> None:
        raise ImportError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(EngineError) as error:
        load_runtime(runtime)
    wanted = {Runtime.TENSORRT: "in the container that serves", Runtime.RTX: "thyroid-triton[rtx]"}
    assert "libnvinfer.so.10" in str(error.value)
    assert wanted[runtime] in str(error.value)


def test_bindings_alone_do_where_the_libraries_are(
    library: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None is how Python marks what cannot be imported.
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_bindings", library)
    assert load_runtime(Runtime.TENSORRT) is library


def test_a_library_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(__version__="10.12.0.36", __name__="tensorrt")
    monkeypatch.setattr(importlib, "import_module", give(old))
    with pytest.raises(EngineError, match=r"TensorRT 10.12.0.36 is installed, 10.13 or newer"):
        load_runtime(Runtime.TENSORRT)


def test_every_version_is_new_enough(
    library: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib, "import_module", give(library))
    assert load_runtime(Runtime.TENSORRT) is library
    assert library.__version__.startswith(version_of(library))
    assert version_of(library).count(".") == 3
