"""Kernels that one start compiles and the next finds, on a GPU that is made up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtx_wheel import needs_rtx
from thyroid_server import rtx_serving
from thyroid_server.rtx_kernels import kernels_folder
from thyroid_server.rtx_serving import RtxModel

if needs_rtx.args[0]:
    pytest.skip(needs_rtx.kwargs["reason"], allow_module_level=True)

from fake_rtx import CONFIG, KERNELS, FakeLibrary, job, write_plan

Start = Callable[..., tuple[FakeLibrary, RtxModel]]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where kernels are kept; nobody has made it yet."""
    return tmp_path / "home" / "kernels"


@pytest.fixture
def start(plan: Path, kept: Path) -> Start:
    """Starts a process afresh: a library, and a model on it."""

    def begin(device: int = 0) -> tuple[FakeLibrary, RtxModel]:
        library = FakeLibrary()
        return library, RtxModel(library, library.cuda, plan, CONFIG, device, kept=kept)

    return begin


def test_a_second_start_compiles_nothing(start: Start) -> None:
    library, model = start()
    model.run([job(1)])
    assert library.compiled == [1]
    library, model = start()  # the first was not ended in good order
    (answer,) = model.run([job(2)])
    assert library.compiled == []
    assert isinstance(answer, dict)
    assert answer["total"].tolist() == [[8.0]]


def test_what_later_batches_compiled_is_kept_at_the_end(start: Start) -> None:
    _, model = start()
    model.run([job(1)])
    model.run([job(1, 2, 3)])
    model.close()
    model.close()
    library, model = start()
    model.run([job(4, 5, 6)])
    model.run([job(7)])
    model.run([job(8, 9)])
    assert library.compiled == [2]


def test_without_a_run_nothing_is_written(start: Start, kept: Path) -> None:
    _, model = start()
    model.close()
    assert not kept.exists()


@pytest.mark.parametrize("content", [b"", b"of another GPU", KERNELS[:-1]], ids=repr)
def test_kernels_that_do_not_fit_are_compiled_anew_and_replaced(
    start: Start, kept: Path, content: bytes
) -> None:
    start()[1].run([job(1)])
    (file,) = (path for path in kept.rglob("*") if path.is_file())
    file.write_bytes(content)
    library, model = start()
    model.run([job(1)])
    assert library.compiled == [1]
    assert file.read_bytes() == KERNELS + bytes([1])


def test_each_gpu_has_its_own(start: Start, kept: Path) -> None:
    for device in (0, 1):
        start(device)[1].run([job(1)])
    assert len([path for path in kept.rglob("*") if path.is_file()]) == 2


def test_it_is_code_and_for_nobody_else(start: Start, kept: Path) -> None:
    start()[1].run([job(1)])
    (file,) = (path for path in kept.rglob("*") if path.is_file())
    for path in (file, file.parent):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_place_that_cannot_be_written_costs_only_time(start: Start, kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_bytes(b"a file where the folder would be")
    library, model = start()
    (answer,) = model.run([job(1)])
    model.close()
    assert isinstance(answer, dict)
    assert library.compiled == [1]


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ("/cache", "/cache/thyroid-triton/rtx-kernels"),
        ("relative", "/home/me/.cache/thyroid-triton/rtx-kernels"),
        (None, "/home/me/.cache/thyroid-triton/rtx-kernels"),
    ],
)
def test_they_lie_in_the_users_cache_and_not_in_the_repository(
    monkeypatch: pytest.MonkeyPatch, named: str | None, wanted: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert kernels_folder() == Path(wanted)


def test_a_user_without_a_home_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert kernels_folder() is None


def test_the_backend_keeps_them_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: Path, library: FakeLibrary
) -> None:
    (tmp_path / "1").mkdir()
    write_plan(tmp_path / "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    monkeypatch.setattr(rtx_serving, "load_library", lambda: library)
    monkeypatch.setattr(rtx_serving, "load_cuda", lambda: library.cuda)
    arguments: dict[str, Any] = {
        "model_name": "engine",
        "model_repository": str(tmp_path),
        "model_version": "1",
        "model_instance_device_id": "0",
        "model_config": json.dumps(CONFIG),
    }

    class Log:
        def log_info(self, message: str) -> None: ...

        def log_warn(self, message: str) -> None: ...

    rtx_serving.load_for_serving(arguments, Log()).run([job(1)])
    assert [path.suffix for path in kept.rglob("*") if path.is_file()] == [".kernels"]
