"""The private folder of a server, and where it may lie."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thyroid_server import workspace
from thyroid_server.core_pool import CorePool
from thyroid_server.errors import PreflightError
from thyroid_server.wheel import find_wheel


def test_it_gives_triton_a_path_that_needs_no_quotes(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awkward = tmp_path / "with space"
    awkward.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(awkward))
    made = workspace.create_workspace(find_wheel(), repository, None, 2)
    try:
        assert not set(str(made.models)) & set(" '$;\"")
        assert made.models.resolve() == repository.resolve()
        assert not list(awkward.iterdir())
        assert {folder.name for folder in made.backends.iterdir()} == workspace.backend_names()
        assert not list(made.current_folder.iterdir())
        pool = CorePool(made.cores)
        assert pool.cores == 2
        pool.close()
        # Triton takes a library only from where it really lies.
        (library,) = made.backends.glob("python/*.so")
        assert not library.is_symlink()
    finally:
        shutil.rmtree(made.folder)


def test_a_failure_leaves_no_folder(
    fake_wheel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = fake_wheel(tmp_path / "wheel")
    wheel.python_library.unlink()
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(FileNotFoundError):
        workspace.create_workspace(wheel, tmp_path, None, 2)
    assert not list(folder.iterdir())


def test_no_folder_will_do(monkeypatch: pytest.MonkeyPatch, message_of: Any) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with pytest.raises(PreflightError) as error:
        workspace.suitable_parent()
    assert "/var/tmp will do" in message_of(error)
