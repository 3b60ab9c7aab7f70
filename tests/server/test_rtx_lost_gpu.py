"""A GPU that a process cannot use any more ends the process, for a supervisor to see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtx_wheel import needs_rtx
from thyroid_server.cuda_buffers import CudaError
from thyroid_server.request_batches import Failure
from thyroid_server.rtx_serving import GPU_LOST_EXIT_CODE, RtxModel

if needs_rtx.args[0]:
    pytest.skip(needs_rtx.kwargs["reason"], allow_module_level=True)

from cuda.bindings import runtime as real_cuda

from fake_rtx import CONFIG, POISON, FakeLibrary, job

ERRORS = real_cuda.cudaError_t


class EndedError(BaseException):
    """Instead of the end of this process; nothing that answers requests may stop it."""


def end(error: CudaError) -> None:
    raise EndedError(str(error))


@pytest.fixture
def model(library: FakeLibrary, plan: Path) -> RtxModel:
    return RtxModel(library, library.cuda, plan, CONFIG, end=end)


@pytest.mark.parametrize(
    "error", ["cudaErrorIllegalAddress", "cudaErrorLaunchFailure", "cudaErrorECCUncorrectable"]
)
def test_an_error_that_lasts_ends_the_process(
    library: FakeLibrary, model: RtxModel, error: str
) -> None:
    library.poison_error = getattr(ERRORS, error)
    with pytest.raises(EndedError, match=error):
        model.run([job(1), job(POISON)])
    assert library.batches == [2]  # none is run again: no run would succeed


@pytest.mark.parametrize("call", ["cudaSetDevice", "cudaMemcpyAsync", "cudaStreamSynchronize"])
def test_wherever_in_a_run_it_shows(library: FakeLibrary, model: RtxModel, call: str) -> None:
    library.cuda.refusals[call] = ERRORS.cudaErrorIllegalAddress
    with pytest.raises(EndedError, match=f"{call} on GPU 0 failed: cudaErrorIllegalAddress"):
        model.run([job(1)])


@pytest.mark.parametrize("error", ["cudaErrorMemoryAllocation", "cudaErrorNoDevice"])
def test_other_errors_fail_the_request_alone(
    library: FakeLibrary, model: RtxModel, error: str
) -> None:
    library.poison_error = getattr(ERRORS, error)
    bad, good = model.run([job(POISON), job(1)])
    assert isinstance(bad, Failure)
    assert error in bad.message
    assert isinstance(good, dict)


def test_a_real_process_ends_with_the_reason_as_its_last_words(plan: Path) -> None:
    program = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parents[1] / "helpers")]}
from pathlib import Path
from fake_rtx import CONFIG, POISON, FakeLibrary, job
from thyroid_server.rtx_serving import RtxModel
library = FakeLibrary()
model = RtxModel(library, library.cuda, Path({str(plan)!r}), CONFIG)
try:
    model.run([job(POISON)])
finally:
    print("still here")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (GPU_LOST_EXIT_CODE, "")
    (line,) = done.stderr.splitlines()
    # So begin the lines that `thyroid-serve` tells again when the server has ended.
    assert line.startswith("error: cudaStreamSynchronize on GPU 0 failed: cudaErrorLaunchFailure")
    assert "to mend it: restart the server" in line
