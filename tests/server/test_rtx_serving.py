"""Plans of TensorRT for RTX behind batches of requests: on a GPU that is made up, and on none."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtx_wheel import needs_rtx
from thyroid_server.cuda_buffers import CudaError
from thyroid_server.plan_check import PlanError
from thyroid_server.request_batches import Failure, Job
from thyroid_server.rtx_serving import RtxModel, load_for_serving

if needs_rtx.args[0]:
    pytest.skip(needs_rtx.kwargs["reason"], allow_module_level=True)

from cuda.bindings import runtime as real_cuda

from fake_rtx import CONFIG, POISON, FakeLibrary, job, write_plan

ALL = frozenset[str]()
ERRORS = real_cuda.cudaError_t


@pytest.fixture
def model(library: FakeLibrary, plan: Path) -> RtxModel:
    return RtxModel(library, library.cuda, plan, CONFIG)


def totals(results: list[Any]) -> list[list[float]]:
    assert not any(isinstance(result, Failure) for result in results), results
    return [result["total"][:, 0].tolist() for result in results]


# --- runs


@given(sizes=st.lists(st.integers(1, 2), min_size=1, max_size=2), seed=st.integers(0, 2**32 - 1))
def test_requests_together_answer_as_each_alone(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    library = FakeLibrary()
    plan = write_plan(tmp_path_factory.mktemp("plan"))
    model = RtxModel(library, library.cuda, plan, CONFIG)
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(0, POISON, (size, 1, 2, 2), np.uint8) for size in sizes]
    results: list[Any] = model.run([Job({"pixels": array}, ALL) for array in arrays])
    assert library.batches == [sum(sizes)]
    for array, result in zip(arrays, results, strict=True):
        sums = array.reshape(len(array), -1).sum(1, dtype=np.float32)[:, None]
        np.testing.assert_array_equal(result["total"], sums)
        np.testing.assert_array_equal(result["bright"], sums > 9)
        assert (result["total"].dtype, result["bright"].dtype) == (np.float32, np.bool_)


def test_an_answer_outlives_the_next_run(model: RtxModel) -> None:
    first = model.run([job(1, 2)])
    model.run([job(7, 8, 9)])
    assert totals(first) == [[4.0, 8.0]]


def test_only_what_is_wanted_is_copied(library: FakeLibrary, model: RtxModel) -> None:
    (result,) = model.run([job(3, 1, outputs=frozenset({"bright"}))])
    assert isinstance(result, dict)
    assert result.keys() == {"bright"}
    assert result["bright"].tolist() == [[True], [False]]
    # Two pictures of four bytes there, two truth values back: not the largest batch.
    assert library.cuda.copied_bytes == [8, 2]


def test_memory_is_taken_once_for_the_largest_batch(library: FakeLibrary, model: RtxModel) -> None:
    sizes = sorted(room.size for room in library.cuda.memory.values())
    assert sizes == [4, 4, 16, 16, 16, 16]  # each on host and GPU: 4 x BOOL, UINT8 [4], FP32
    before = set(library.cuda.memory)
    for count in (1, 4, 2):
        model.run([job(*range(count))])
    assert set(library.cuda.memory) == before


@pytest.mark.parametrize(("value", "strategy"), [("0", "DISABLED"), ("1", "WHOLE_GRAPH_CAPTURE")])
def test_the_library_s_graphs_are_the_config_s_choice(
    library: FakeLibrary, plan: Path, value: str, strategy: str
) -> None:
    config = {**CONFIG, "parameters": {"cuda_graphs": {"string_value": value}}}
    RtxModel(library, library.cuda, plan, config)
    assert library.config.cuda_graph_strategy.name == strategy


def test_every_run_chooses_its_gpu(library: FakeLibrary, plan: Path) -> None:
    model = RtxModel(library, library.cuda, plan, CONFIG, device=1)
    library.cuda.devices.clear()
    model.run([job(1)])  # perhaps from another thread
    assert library.cuda.devices == [1]


# --- what fails


def test_only_the_request_that_fails_is_lost(library: FakeLibrary, model: RtxModel) -> None:
    library.poison_error = ERRORS.cudaErrorMemoryAllocation
    first, bad, last = model.run([job(1), job(POISON), job(2)])
    assert totals([first, last]) == [[4.0], [8.0]]
    assert isinstance(bad, Failure)
    assert not bad.is_senders_fault
    assert "cudaErrorMemoryAllocation (the words of cudaErrorMemoryAllocation)" in bad.message
    assert "to mend it: end what else uses the GPU" in bad.message


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 1, 2, 2), np.uint8), "uint8 [5, 1, 2, 2]"),
        (np.zeros((1, 1, 2, 3), np.uint8), "uint8 [1, 1, 2, 3]"),
        (np.zeros((1, 1, 2, 2), np.float32), "float32 [1, 1, 2, 2]"),
    ],
    ids=["too large a batch", "another shape", "another type"],
)
def test_what_the_plan_does_not_take_is_the_senders_fault(
    model: RtxModel, array: Any, words: str
) -> None:
    bad, good = model.run([Job({"pixels": array}, ALL), job(3)])
    assert isinstance(bad, Failure)
    assert bad.is_senders_fault
    assert words in bad.message
    assert "uint8 ['1 to 4', 1, 2, 2] was wanted" in bad.message
    assert totals([good]) == [[12.0]]


def test_a_run_that_the_library_refuses_fails_with_its_words(
    library: FakeLibrary, model: RtxModel
) -> None:
    library.refuses_runs = True
    (result,) = model.run([job(1)])
    assert isinstance(result, Failure)
    assert "refuses a run on a batch of 1: ERROR: no run today; " in result.message
    library.refuses_runs = False
    assert totals(model.run([job(1)])) == [[4.0]]  # and leaves nothing under way


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_batch_size": 5}, "takes batches of 1 to 4, the config's max_batch_size is 5"),
        ({"max_batch_size": 0}, "the config's max_batch_size is 0"),
        (
            {"input": [{"name": "pixels", "data_type": "TYPE_FP32", "dims": [1, 2, 2]}]},
            "input pixels TYPE_UINT8 [-1, 1, 2, 2]",
        ),
        ({"output": CONFIG["output"][:1]}, "output bright TYPE_BOOL [-1, 1]"),
    ],
)
def test_a_config_that_contradicts_its_plan(
    library: FakeLibrary, plan: Path, message_of: Any, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(PlanError) as error:
        RtxModel(library, library.cuda, plan, {**CONFIG, **change})
    assert words in message_of(error)
    assert library.cuda.memory == {}


def test_plans_that_the_library_does_not_take(
    library: FakeLibrary, plan: Path, message_of: Any
) -> None:
    library.makes_contexts = False
    with pytest.raises(PlanError) as error:
        RtxModel(library, library.cuda, plan, CONFIG)
    assert "makes no context" in message_of(error)
    plan.write_bytes(b"another file")
    with pytest.raises(PlanError) as error:
        RtxModel(library, library.cuda, plan, CONFIG)
    assert "magicTag is wrong" in message_of(error)
    assert "thyroid-export engine --runtime rtx" in message_of(error)
    plan.unlink()
    with pytest.raises(PlanError) as error:
        RtxModel(library, library.cuda, plan, CONFIG)
    assert "there is no plan" in message_of(error)


# --- what is left behind


def test_closing_gives_everything_back(library: FakeLibrary, model: RtxModel) -> None:
    engine = weakref.ref(library.engine)
    (result,) = model.run([job(1)])
    del library.engine
    model.close()
    model.close()
    gc.collect()
    assert (library.cuda.memory, library.cuda.pinned, library.cuda.streams) == ({}, set(), set())
    assert engine() is None
    assert totals([result]) == [[4.0]]


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaMallocHost", "cudaStreamCreateWithFlags"])
def test_what_cannot_be_had_leaves_nothing_behind(
    library: FakeLibrary, plan: Path, call: str, message_of: Any
) -> None:
    library.cuda.refusals[call] = ERRORS.cudaErrorMemoryAllocation
    with pytest.raises(CudaError) as error:
        RtxModel(library, library.cuda, plan, CONFIG)
    assert f"{call} on GPU 0 failed: cudaErrorMemoryAllocation" in message_of(error)
    assert "lower the count of instances" in message_of(error)
    assert (library.cuda.memory, library.cuda.streams) == ({}, set())


# --- without a GPU, by the real libraries


class Log:
    def log_info(self, message: str) -> None: ...

    def log_warn(self, message: str) -> None: ...


def has_gpu() -> bool:
    return bool(real_cuda.cudaGetDeviceCount()[0] == ERRORS.cudaSuccess)


@pytest.mark.skipif(has_gpu(), reason="this is what happens without a GPU")
def test_without_a_gpu_it_is_said_before_the_plan_is_read(tmp_path: Path, message_of: Any) -> None:
    arguments = {
        "model_name": "resnet18",
        "model_repository": str(tmp_path),
        "model_version": "1",
        "model_instance_device_id": "0",
        "model_config": json.dumps(CONFIG),
    }
    with pytest.raises(CudaError) as error:
        load_for_serving(arguments, Log())
    message = message_of(error)
    assert "cudaSetDevice on GPU 0 failed: cudaError" in message
    assert "thyroid-serve --profile cpu" in message
