"""A private folder that holds what Triton must find side by side.

Triton 2.51 starts its Python stubs through a shell without quoting paths, and takes a backend only
from a folder in which the library really lies. So a server gets a folder of its own, with a path
that needs no quotes:

```
models                     -> the model repository, wherever it is and whatever it is called; a
                              folder of links into it where configurations are changed
backends/python/              the Python backend and the stub for this interpreter
backends/onnxruntime/         our Python-based backends, one folder each
cores/                        the cores that the networks share
run/                          the server's current folder: empty, because it is first on the
                              module search path of every stub
```
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from thyroid_server.core_pool import create_pool
from thyroid_server.errors import PreflightError
from thyroid_server.instances import link_models
from thyroid_server.wheel import STUB_NAME, TritonWheel

_OUR_BACKENDS = Path(__file__).parent / "backends"
_PYTHON = "python"
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9_./-]+")
_PREFIX = "thyroid-server-"


def backend_names() -> frozenset[str]:
    """The backends that an embedded server has."""
    return frozenset({_PYTHON, *(file.parent.name for file in _OUR_BACKENDS.glob("*/model.py"))})


@dataclass(frozen=True)
class Workspace:
    """The private folder of one server; whoever created it removes it."""

    folder: Path

    @property
    def models(self) -> Path:
        """The model repository, under a path without special characters."""
        return self.folder / "models"

    @property
    def backends(self) -> Path:
        """The folder of backends."""
        return self.folder / "backends"

    @property
    def cores(self) -> Path:
        """The pool of cores."""
        return self.folder / "cores"

    @property
    def current_folder(self) -> Path:
        """Where the server runs."""
        return self.folder / "run"


def suitable_parent() -> str:
    """The first folder for temporary files that a workspace may lie in.

    Raises:
        PreflightError: There is none.
    """
    candidates = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp"))
    for folder in candidates:
        if (
            _NEEDS_NO_QUOTES.fullmatch(folder)
            and os.access(folder, os.W_OK | os.X_OK)
            # A hardened machine may let no library be loaded from it.
            and not os.statvfs(folder).f_flag & os.ST_NOEXEC
        ):
            return folder
    raise PreflightError(
        f"none of {', '.join(candidates)} will do for temporary files",
        wanted="a folder that may be written to, not mounted noexec, whose path has only letters, "
        "digits, '_', '.', '/' and '-'",
        mend="name one by TMPDIR",
    )


def create_workspace(
    wheel: TritonWheel, repository: Path, profile: str | None, cores: int
) -> Workspace:
    """Write the folder of one server.

    Args:
        wheel: The installed wheel.
        repository: The model repository.
        profile: As in `ServerSettings`.
        cores: How many the networks share, from 1.

    Raises:
        PreflightError: There is no place for it.
    """
    workspace = Workspace(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=suitable_parent())))
    try:
        workspace.current_folder.mkdir()
        create_pool(workspace.cores, cores)
        link_models(workspace.models, repository.resolve(), profile, cores)
        python = workspace.backends / _PYTHON
        python.mkdir(parents=True)
        # A copy: Triton refuses a library that is linked from elsewhere.
        shutil.copy(wheel.python_library, python)
        (python / wheel.python_utilities.name).symlink_to(wheel.python_utilities)
        (python / STUB_NAME).symlink_to(wheel.stub)
        for file in _OUR_BACKENDS.glob("*/model.py"):
            folder = workspace.backends / file.parent.name
            folder.mkdir()
            shutil.copy(file, folder)
    except BaseException:
        shutil.rmtree(workspace.folder, ignore_errors=True)
        raise
    return workspace
