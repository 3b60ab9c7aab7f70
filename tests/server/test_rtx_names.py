"""What is used of TensorRT for RTX and CUDA, held against the real bindings, which need no GPU."""

from __future__ import annotations

from typing import Any

import pytest

from rtx_wheel import needs_rtx
from thyroid_server.cuda_buffers import load_cuda
from thyroid_server.rtx_engine import load_library

if needs_rtx.args[0]:
    pytest.skip(needs_rtx.kwargs["reason"], allow_module_level=True)

import tensorrt_rtx
from cuda.bindings import runtime as real_cuda

import fake_rtx
from fake_cuda import FakeCuda


@pytest.mark.parametrize(
    ("fake", "real"),
    [
        (fake_rtx.FakeEngine, tensorrt_rtx.ICudaEngine),
        (fake_rtx.FakeContext, tensorrt_rtx.IExecutionContext),
        (fake_rtx.FakeRuntimeCache, tensorrt_rtx.IRuntimeCache),
        (fake_rtx.FakeRuntimeConfig, tensorrt_rtx.IRuntimeConfig),
        (fake_rtx.FakeRuntime, tensorrt_rtx.Runtime),
    ],
    ids=lambda cls: cls.__name__,
)
def test_the_real_classes_have_every_name_that_is_used(fake: type[Any], real: type[Any]) -> None:
    names = [name for name in vars(fake) if not name.startswith("_")]
    assert names
    assert [name for name in names if not hasattr(real, name)] == []


def test_the_real_modules_have_every_name_that_is_used() -> None:
    used = [name for name in vars(FakeCuda) if name.startswith("cuda")]
    assert len(used) > 10
    assert [name for name in used if not hasattr(real_cuda, name)] == []
    names = [name for name in vars(fake_rtx.FakeLibrary) if not name.startswith("_")]
    assert len(names) == 5
    assert [name for name in names if not hasattr(tensorrt_rtx, name)] == []
    assert load_library() is tensorrt_rtx
    assert load_cuda() is real_cuda


def test_the_real_methods_take_what_they_are_given() -> None:
    """By the bindings' own signatures; to call them takes a GPU."""
    context = tensorrt_rtx.IExecutionContext
    assert "shape: tuple) -> bool" in context.set_input_shape.__doc__
    assert "SupportsInt) -> bool" in context.set_tensor_address.__doc__
    assert "SupportsInt) -> bool" in context.execute_async_v3.__doc__
    cache = tensorrt_rtx.IRuntimeCache
    assert "blob: typing_extensions.Buffer) -> bool" in cache.deserialize.__doc__
    assert "IHostMemory" in cache.serialize.__doc__
    assert "buffer protocol" in tensorrt_rtx.IHostMemory.__doc__
    assert "IRuntimeCache" in tensorrt_rtx.IRuntimeConfig.create_runtime_cache.__doc__
    assert "cache: " in tensorrt_rtx.IRuntimeConfig.set_runtime_cache.__doc__
    engine = tensorrt_rtx.ICudaEngine
    assert "IRuntimeConfig = None" in engine.create_execution_context.__doc__
    assert "-> list[" in engine.get_tensor_profile_shape.__doc__
    # What the code takes apart: (open batch, sides).
    assert tuple(tensorrt_rtx.Dims((-1, 1, 2, 2))) == (-1, 1, 2, 2)
