"""The builder on the names of real TensorRT versions, and what it says when the library refuses.

The library itself is not there: its bindings' names, numbers and parameters are, so that a name
that a version has not, a wrong number of arguments or a flag's integer of another version fails.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from fake_tensorrt import FakeTensorRT
from thyroid_export.engine_builder import BuildOptions, build_plan
from thyroid_export.engine_runtime import EngineError, load_runtime, loading_fault, version_of
from thyroid_export.trt_rules import RuleError
from thyroid_pipeline import plan_logger
from thyroid_pipeline.plan_manifest import BatchProfile, HardwareCompatibility, Runtime

NAMES = json.loads(Path(__file__).with_name("tensorrt_names.json").read_text())
BATCH = BatchProfile(1, 8, 16)
# As NVIDIA renumbered it: 1 << 1 in TensorRT 10, 1 << 0 in TensorRT 11.
STRONGLY_TYPED = {"10.13.3.9.post1": 2, "10.16.1.11": 2, "11.4.0.106": 1}


def give(value: Any) -> Callable[..., Any]:
    """A function that gives a value, whatever it is asked."""
    return lambda *_: value


def make_library(version: str) -> FakeTensorRT:
    """A version that builds whatever it is given, and shows its progress."""
    trt = FakeTensorRT(version, NAMES[version])

    def build(network: Any, config: Any) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        monitor.phase_start("Tactics", "Building", 1)
        went_on = monitor.step_complete("Tactics", 0) and monitor.step_complete("Building", 1)
        monitor.phase_finish("Tactics")
        monitor.phase_finish("Building")
        return b"a plan" if went_on else None

    trt.answers = {
        ("Builder", "create_network"): give(trt.INetworkDefinition()),
        ("Builder", "create_builder_config"): give(trt.IBuilderConfig()),
        ("Builder", "create_optimization_profile"): give(trt.IOptimizationProfile()),
        ("Builder", "build_serialized_network"): build,
        ("OnnxParser", "parse_from_file"): give(True),
        ("IBuilderConfig", "create_timing_cache"): give(trt.ITimingCache()),
        ("IBuilderConfig", "set_timing_cache"): give(True),
        ("ITimingCache", "serialize"): give(b"timings"),
        ("Runtime", "deserialize_cuda_engine"): give(object()),
    }
    trt.calls.clear()  # the making of these answers
    return trt


@pytest.fixture(params=NAMES)
def library(request: pytest.FixtureRequest) -> FakeTensorRT:
    return make_library(request.param)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Two inputs, as the classifier's."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["roi"], ["grey"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["grey", "shift"], ["y"], name="sum"),
        ],
        "test",
        [
            helper.make_tensor_value_info("roi", TensorProto.UINT8, ["batch", 1, 4, 4]),
            helper.make_tensor_value_info("shift", TensorProto.FLOAT, ["batch", 1, 1, 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1, 4, 4])],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_names_are_of_the_versions_that_are_served() -> None:
    assert set(NAMES) == set(STRONGLY_TYPED)
    assert "FP16" in NAMES["10.13.3.9.post1"]["BuilderFlag"]  # weak typing, still there
    assert "FP16" not in NAMES["11.4.0.106"]["BuilderFlag"]  # and gone


def test_a_missing_name_would_be_noticed() -> None:
    trt = make_library("11.4.0.106")
    with pytest.raises(AttributeError):
        _ = trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
    with pytest.raises(AttributeError):
        trt.IBuilderConfig().int8_calibrator = None
    with pytest.raises(TypeError):
        trt.Builder()


def test_plain_build(library: FakeTensorRT, network: Path) -> None:
    built = build_plan(library, network, BuildOptions(BATCH))
    assert bytes(built.plan) == b"a plan"
    assert built.timing_cache is None
    assert built.warnings == ()
    version = library.__version__
    assert library.arguments_of("Builder", "create_network") == [(STRONGLY_TYPED[version],)]
    assert library.arguments_of("OnnxParser", "parse_from_file") == [(str(network),)]
    assert library.arguments_of("IOptimizationProfile", "set_shape") == [
        ("roi", (1, 1, 4, 4), (8, 1, 4, 4), (16, 1, 4, 4)),
        ("shift", (1, 1, 1, 1), (8, 1, 1, 1), (16, 1, 1, 1)),
    ]
    assert len(library.arguments_of("IBuilderConfig", "add_optimization_profile")) == 1
    # No flag of a precision: it is the ONNX file's.
    assert library.arguments_of("IBuilderConfig", "set_flag") == [
        (library.BuilderFlag.STRICT_NANS,)
    ]
    # The library's own choice would be TF32.
    assert library.arguments_of("IBuilderConfig", "clear_flag") == [(library.BuilderFlag.TF32,)]
    assert not library.arguments_of("IBuilderConfig", "set_memory_pool_limit")
    assert ("IBuilderConfig", "hardware_compatibility_level") not in library.settings


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (HardwareCompatibility.AMPERE, "AMPERE_PLUS"),
        (HardwareCompatibility.SAME_CAPABILITY, "SAME_COMPUTE_CAPABILITY"),
    ],
)
def test_every_option(
    library: FakeTensorRT, network: Path, level: HardwareCompatibility, name: str
) -> None:
    options = BuildOptions(
        BATCH, 512, version_compatible=True, hardware_compatibility=level, tf32=True
    )
    built = build_plan(library, network, options, timing_cache=b"earlier")
    assert built.timing_cache == b"timings"
    assert library.arguments_of("IBuilderConfig", "create_timing_cache") == [(b"earlier",)]
    ((_, ignores_mismatch),) = library.arguments_of("IBuilderConfig", "set_timing_cache")
    assert ignores_mismatch is False
    assert library.arguments_of("IBuilderConfig", "set_memory_pool_limit") == [
        (library.MemoryPoolType.WORKSPACE, 512 * 1024 * 1024)
    ]
    flags = {flag.name for (flag,) in library.arguments_of("IBuilderConfig", "set_flag")}
    assert flags == {"STRICT_NANS", "TF32", "VERSION_COMPATIBLE"}
    assert not library.arguments_of("IBuilderConfig", "clear_flag")
    assert library.settings["IBuilderConfig", "hardware_compatibility_level"].name == name
    # A version-compatible plan loads only where its own code may be run.
    assert library.settings["Runtime", "engine_host_code_allowed"] is True


def say(severity: str, text: str) -> Callable[[FakeTensorRT], None]:
    def speak(trt: FakeTensorRT) -> None:
        plan_logger.logger_of(trt).log(trt.Severity[severity], text)

    return speak


def test_warnings_come_with_the_plan(library: FakeTensorRT, network: Path) -> None:
    build = library.answers["Builder", "build_serialized_network"]

    def warn_and_build(network: Any, config: Any) -> Any:
        for severity, text in (("WARNING", "slow"), ("WARNING", "slow"), ("INFO", "fine")):
            say(severity, text)(library)
        return build(network, config)

    library.answers["Builder", "build_serialized_network"] = warn_and_build
    assert build_plan(library, network, BuildOptions(BATCH)).warnings == ("slow",)
    library.answers["Builder", "build_serialized_network"] = build
    assert build_plan(library, network, BuildOptions(BATCH)).warnings == ()  # not the last one's


# --- what is refused


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
