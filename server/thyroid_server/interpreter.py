"""Whether the wheel's Python stub can run with this interpreter, and with which environment.

The stub is a program of its own that embeds CPython: it needs the shared libpython of its minor
version, and takes its site-packages from the first `python3` on PATH. From Python 3.11 on it is
isolated, as by `python3 -I`: it ignores PYTHONPATH and the user's site-packages. On 3.10 it would
heed them, so that they are withheld from it. A stub that cannot link makes the server hang, and
numpy 2 makes every output empty without an error; hence the checks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

from thyroid_server.errors import InterpreterError, LibraryError
from thyroid_server.wheel import TritonWheel

_STUB_USAGE_EXIT_CODE = 1  # what the stub ends with when it links but is given no arguments
_CHECK_TIMEOUT_S = 60.0  # generous: a cold disk under load; a linked stub needs milliseconds
_NEEDED_PACKAGES = ("onnxruntime", "thyroid_pipeline", "thyroid_server")
_PLAN_PACKAGES = ("tensorrt_rtx", "cuda.bindings")  # what plans of TensorRT for RTX need as well
_NUMPY_TOO_NEW = 2  # first major version under which the stub returns empty outputs
_QUESTION = """
import importlib.metadata, importlib.util, json, sys
try:
    numpy = importlib.metadata.version("numpy")
except importlib.metadata.PackageNotFoundError:
    numpy = None
def is_there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
missing = [name for name in sys.argv[1:] if not is_there(name)]
print(json.dumps([numpy, missing]))
"""


def library_folders() -> list[Path]:
    """Where this interpreter's own shared libpython may lie, likeliest first."""
    base = Path(sys.base_prefix)
    folders = [base / "lib", base / "lib64"]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if configured := sysconfig.get_config_var("LIBDIR"):
        folders.append(Path(configured))
    if multiarch:
        folders.extend([folder / multiarch for folder in folders])
    return folders


def find_libpython(
    folders: Iterable[Path] | None = None, *, minor: int = sys.version_info.minor
) -> Path:
    """Find the shared libpython of this interpreter.

    Another installation's libpython of the same minor version would link as well, and then mix
    two Pythons; so only this interpreter's own folders are searched, not the loader's.

    Args:
        folders: Where to look; None looks in `library_folders()`.
        minor: The Python 3 minor version.

    Raises:
        InterpreterError: There is none.
    """
    name = f"libpython3.{minor}.so.1.0"
    searched = library_folders() if folders is None else list(folders)
    for folder in searched:
        if (folder / name).is_file():
            return folder / name
    shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
    cause = "" if shared else " (it was built without a shared libpython)"
    raise InterpreterError(
        f"{sys.executable} has no {name}{cause}; searched {', '.join(map(str, searched))}",
        wanted=f"{name}, which Triton's Python stub links to",
        mend="use an interpreter with a shared libpython: on Debian and Ubuntu "
        f"`apt install libpython3.{minor}`, with pyenv `PYTHON_CONFIGURE_OPTS=--enable-shared "
        "pyenv install`; those of conda, uv and the official Docker images have one",
    )


def stub_environment(
    wheel: TritonWheel, libpython: Path, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment variables under which the server's stubs find this interpreter.

    Args:
        wheel: The installed wheel.
        libpython: This interpreter's shared library.
        base: The variables to start from; None takes this process's.

    Raises:
        InterpreterError: There is no `python3` beside this interpreter, or no `bash`.
    """
    inherited = os.environ if base is None else base
    environment = {
        name: value for name, value in inherited.items() if not name.startswith("PYTHON")
    }
    environment["PYTHONNOUSERSITE"] = "1"
    # Not resolved: in a virtual environment it is the link, not its target, that says which.
    scripts = Path(sys.executable).parent
    if not (scripts / "python3").exists():
        raise InterpreterError(
            f"there is no python3 beside {sys.executable}",
            wanted=f"{scripts / 'python3'}, by which Triton's stub finds its site-packages",
            mend="run from a virtual environment: python3 -m venv .venv",
        )
    libraries = [str(libpython.parent), str(wheel.libraries)]
    paths = [str(scripts)]
    if others := environment.get("LD_LIBRARY_PATH"):
        libraries.append(others)
    if others := environment.get("PATH"):
        paths.append(others)
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    environment["PATH"] = os.pathsep.join(paths)
    if shutil.which("bash", path=environment["PATH"]) is None:
        raise InterpreterError(
            "there is no bash on PATH",
            wanted="bash, by which Triton starts its Python stubs",
            mend="install it, for example `apt install bash`",
        )
    return environment


def check_stub(stub: Path, environment: Mapping[str, str]) -> None:
    """Run the stub once, without arguments, to see that it links.

    Raises:
        InterpreterError: It does not.
    """
    wanted = f"a stub that links and prints its usage: {stub}"
    try:
        # In the folder "/", so that no module of the current folder is picked up.
        run = subprocess.run(
            [stub],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InterpreterError(
            f"Triton's Python stub did not run: {error}",
            wanted=wanted,
            mend="reinstall the wheel: pip install --force-reinstall 'thyroid-triton[server]'",
        ) from error
    if run.returncode != _STUB_USAGE_EXIT_CODE:
        words = run.stderr.decode(errors="replace").strip() or f"exit code {run.returncode}"
        raise InterpreterError(
            f"Triton's Python stub does not link: {words}",
            wanted=wanted,
            mend=f"see what it misses: LD_LIBRARY_PATH={environment.get('LD_LIBRARY_PATH', '')} "
            f"ldd {stub}",
        )


def check_libraries(environment: Mapping[str, str], *, runs_plans: bool = False) -> None:
    """See that the Python which the stub will find has numpy below 2 and our packages.

    Args:
        environment: Of the server.
        runs_plans: Whether models run from plans of TensorRT for RTX.

    Raises:
        LibraryError: It has not.
    """
    python = shutil.which("python3", path=environment["PATH"]) or "python3"
    needed = _NEEDED_PACKAGES + (_PLAN_PACKAGES if runs_plans else ())
    extras = "server,rtx" if runs_plans else "server"
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _QUESTION, *needed],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise LibraryError(
            f"{python} did not run: {error}",
            wanted="a working Python, whose packages Triton's stub uses",
            mend="make the virtual environment afresh: python3 -m venv --clear .venv",
        ) from error
    numpy_version, missing = json.loads(answer)
    check_numpy(numpy_version, python)
    if missing:
        raise LibraryError(
            f"{python} finds no {' and no '.join(missing)}",
            wanted="the packages that the models import, installed: Triton's stub ignores "
            "PYTHONPATH and the user's site-packages",
            mend=f"{python} -m pip install 'thyroid-triton[{extras}]'",
        )


def check_numpy(version: str | None, python: str) -> None:
    """See that a version of numpy is one that Triton's stub can work with.

    Args:
        version: Of the numpy installed, None where there is none.
        python: The interpreter that has it, for the message.

    Raises:
        LibraryError: There is none, or it is too new.
    """
    if version is None or int(version.partition(".")[0]) >= _NUMPY_TOO_NEW:
        raise LibraryError(
            f"{python} has numpy {version}" if version else f"{python} has no numpy",
            wanted="numpy below 2: under numpy 2 the Python stub of Triton 2.51 answers with "
            "empty outputs and no error",
            mend=f"{python} -m pip install 'numpy<2'",
        )
