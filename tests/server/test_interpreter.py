"""Whether the stub can run with an interpreter, and what is said where it cannot."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from thyroid_server import interpreter, wheel
from thyroid_server.errors import InterpreterError, LibraryError

MINOR = sys.version_info.minor


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return interpreter.stub_environment(wheel.find_wheel(), interpreter.find_libpython())


def test_a_missing_libpython(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message_of: Any
) -> None:
    monkeypatch.setitem(sysconfig.get_config_vars(), "Py_ENABLE_SHARED", 0)
    with pytest.raises(InterpreterError) as error:
        interpreter.find_libpython([tmp_path])
    assert f"has no libpython3.{MINOR}.so.1.0" in message_of(error)
    assert "built without a shared libpython" in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_libpython_is_found_in_the_first_folder_that_has_it(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "libpython3.10.so.1.0").touch()
    folders = [tmp_path / "none", tmp_path / "first", tmp_path / "second"]
    assert interpreter.find_libpython(folders, minor=10).parent == tmp_path / "first"


def test_the_stub_of_this_interpreter_links(environment: dict[str, str]) -> None:
    interpreter.check_stub(wheel.find_wheel().stub, environment)


def test_a_stub_that_does_not_link(tmp_path: Path, message_of: Any) -> None:
    stub = tmp_path / "stub"
    shutil.copy(wheel.find_wheel().stub, stub)  # away from the libraries that it finds by its place
    with pytest.raises(InterpreterError) as error:
        interpreter.check_stub(stub, {"PATH": os.environ["PATH"]})
    assert "does not link" in message_of(error)
    assert "error while loading shared libraries" in str(error.value)


def test_a_stub_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message_of: Any
) -> None:
    stub = tmp_path / "stub"
    stub.write_text("#!/bin/sh\nexec sleep 1000\n")
    stub.chmod(0o755)
    monkeypatch.setattr(interpreter, "_CHECK_TIMEOUT_S", 0.2)
    with pytest.raises(InterpreterError) as error:
        interpreter.check_stub(stub, dict(os.environ))
    assert "timed out" in message_of(error)


def test_the_stub_finds_this_interpreter_first(environment: dict[str, str]) -> None:
    scripts, *rest = environment["PATH"].split(os.pathsep)
    assert Path(scripts) == Path(sys.executable).parent
    assert os.pathsep.join(rest) == os.environ["PATH"]
    first = Path(environment["LD_LIBRARY_PATH"].split(os.pathsep)[0])
    assert (first / f"libpython3.{MINOR}.so.1.0").is_file()


def test_an_inherited_library_path_comes_last(tmp_path: Path, fake_wheel: Any) -> None:
    base = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "/mine"}
    environment = interpreter.stub_environment(fake_wheel(tmp_path), tmp_path / "so", base)
    assert environment["LD_LIBRARY_PATH"].split(os.pathsep)[-1] == "/mine"


def test_no_setting_of_another_python_reaches_the_stub(fake_wheel: Any, tmp_path: Path) -> None:
    base = {"PATH": os.environ["PATH"], "PYTHONHOME": "/usr", "PYTHONPATH": "/mine", "LANG": "C"}
    environment = interpreter.stub_environment(fake_wheel(tmp_path), tmp_path / "so", base)
    assert not {"PYTHONHOME", "PYTHONPATH"} & environment.keys()
    assert environment["LANG"] == "C"


def test_an_interpreter_without_python3_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_wheel: Any, message_of: Any
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InterpreterError) as error:
        interpreter.stub_environment(fake_wheel(tmp_path), tmp_path / "so")
    assert "no python3 beside" in message_of(error)


def test_a_machine_without_bash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_wheel: Any, message_of: Any
) -> None:
    (tmp_path / "python3").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    with pytest.raises(InterpreterError) as error:
        interpreter.stub_environment(fake_wheel(tmp_path), tmp_path / "so", {"PATH": ""})
    assert "no bash" in message_of(error)


@pytest.mark.parametrize("version", ["1.24.0", "1.26.4", "1.99"])
def test_numpy_1_is_right(version: str) -> None:
    interpreter.check_numpy(version, "python3")


@pytest.mark.parametrize("version", ["2.0.0", "2.1.0rc1", "3.0", "10.0", None])
def test_numpy_2_and_no_numpy_are_wrong(version: str | None, message_of: Any) -> None:
    with pytest.raises(LibraryError) as error:
        interpreter.check_numpy(version, "python3")
    assert "numpy<2" in message_of(error)
    assert version is None or version in str(error.value)


def fake_python(folder: Path, answer: str) -> dict[str, str]:
    """An environment whose python3 says what it is told to about its packages."""
    python = folder / "python3"
    python.write_text(f"#!/bin/sh\n{answer}\n")
    python.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_the_packages_of_this_environment_are_right(environment: dict[str, str]) -> None:
    interpreter.check_libraries(environment)


def test_it_is_the_python_of_the_stub_that_is_asked_for_numpy(
    tmp_path: Path, message_of: Any
) -> None:
    with pytest.raises(LibraryError) as error:
        interpreter.check_libraries(fake_python(tmp_path, """echo '["2.2.0", []]'"""))
    assert f"{tmp_path / 'python3'} has numpy 2.2.0" in message_of(error)


def test_our_packages_must_be_installed_for_the_stub(tmp_path: Path, message_of: Any) -> None:
    answer = """echo '["1.26.4", ["onnxruntime", "thyroid_server"]]'"""
    with pytest.raises(LibraryError) as error:
        interpreter.check_libraries(fake_python(tmp_path, answer))
    assert "finds no onnxruntime and no thyroid_server" in message_of(error)
    assert "pip install 'thyroid-triton[server]'" in str(error.value)


def test_plans_want_their_libraries_and_their_extra(
    tmp_path: Path, environment: dict[str, str], message_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A package whose parent is missing too is missing, and no fault of the question.
    monkeypatch.setattr(interpreter, "_PLAN_PACKAGES", ("tensorrt_rtx_of.tomorrow",))
    interpreter.check_libraries(environment)
    with pytest.raises(LibraryError) as error:
        interpreter.check_libraries(environment, runs_plans=True)
    assert "finds no tensorrt_rtx_of.tomorrow" in message_of(error)
    assert "pip install 'thyroid-triton[server,rtx]'" in str(error.value)


def test_a_python_that_does_not_run(tmp_path: Path, message_of: Any) -> None:
    with pytest.raises(LibraryError) as error:
        interpreter.check_libraries(fake_python(tmp_path, "exit 3"))
    assert "exit status 3" in message_of(error)
