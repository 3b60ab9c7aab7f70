"""The builder on the names of real TensorRT versions: what it asks of the library.

The library itself is not there: its bindings' names, numbers and parameters are, so that a name
that a version has not, a wrong number of arguments or a flag's integer of another version fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fake_tensorrt import NAMES, FakeTensorRT, make_library, say
from thyroid_export.engine_builder import BuildOptions, build_plan
from thyroid_pipeline.plan_manifest import BatchProfile, HardwareCompatibility

BATCH = BatchProfile(1, 8, 16)
# As NVIDIA renumbered it: 1 << 1 in TensorRT 10, 1 << 0 in TensorRT 11.
STRONGLY_TYPED = {"10.13.3.9.post1": 2, "10.16.1.11": 2, "11.4.0.106": 1}


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
