"""What of a server's log is passed on, and what is quoted when it has failed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from thyroid_server import server_log

INFO = 'I1123 18:44:45.720153 15681 server.cc:604] "all is well"\n'
ERROR = (
    "E1123 18:44:45.720274 15681 model_lifecycle.cc:642] \"failed to load 'lone' version 1: "
    'ValueError: weights\\n\\nAt:\\n  /seen/lone/1/model.py(3)"\n'
)
NO_GPU = 'E1123 18:44:45.720153 15681 server.cc:241] "CudaDriverHelper has not been initialized."\n'
NO_STREAM = (
    'E1124 04:59:20.219965 2618 ensemble_scheduler.cc:1468] "unable to create stream for '
    'thyroid_screening: CUDA driver version is insufficient for CUDA runtime version"\n'
)
OF_A_MODEL = (
    "E1124 04:59:20.219965 2618 model_lifecycle.cc:642] \"failed to load 'transunet' version 1: "
    'cudaSetDevice on GPU 0 failed: CUDA driver version is insufficient"\n'
)
LAST = "error: creating server: Internal - failed to load all models\n"
QUOTED = [
    "E1123 18:44:45.720274 15681 model_lifecycle.cc:642] "
    "\"failed to load 'lone' version 1: ValueError: weights",
    "At:",
    '  /called/lone/1/model.py(3)"',
    LAST.rstrip(),
]


@pytest.fixture
def read() -> Callable[..., server_log.ServerLog]:
    """Has a log of these words read to its end."""

    def run(words: str, file: IO[str] | None = None) -> server_log.ServerLog:
        receiver, sender = os.pipe()
        log = server_log.ServerLog(os.fdopen(receiver, "rb"), file, ("/seen", "/called"))
        with os.fdopen(sender, "w") as pipe:
            pipe.write(words)
        log.finish()
        return log

    return run


def test_the_errors_are_quoted_under_the_names_that_the_user_knows(read: Any) -> None:
    assert read(INFO + ERROR + INFO + LAST).last_words().split("\n") == QUOTED


def test_without_errors_the_last_lines_are_quoted(read: Any) -> None:
    assert read(INFO * 1000 + "Segmentation fault\n").last_words().endswith("Segmentation fault")
    assert len(read(INFO * 1000).last_words().split("\n")) < 100


@pytest.mark.parametrize("has_gpu", [False, True])
def test_the_lack_of_a_gpu_is_passed_on_only_where_there_is_one(
    read: Any, has_gpu: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(server_log, "has_gpu", lambda: has_gpu)
    read(NO_GPU + NO_STREAM + OF_A_MODEL + LAST)
    # What a model says of it is the reason for which it cannot be served.
    assert capsys.readouterr().err == (NO_GPU + NO_STREAM if has_gpu else "") + OF_A_MODEL + LAST


def test_a_log_file_is_appended_to(read: Any, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "triton.log"
    for _ in range(2):
        read(LAST, path.open("a"))
    assert path.read_text() == LAST * 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("broken", ["closed", "none"])
def test_the_pipe_is_read_even_where_stderr_is_broken(
    read: Any, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = (tmp_path / "stream").open("w")
    stream.close()
    monkeypatch.setattr(sys, "stderr", None if broken == "none" else stream)
    log = read(INFO * 10_000 + LAST)  # more than a pipe holds
    assert log.last_words() == LAST.rstrip()
