"""The kernels that TensorRT for RTX compiles for this GPU, kept from one start to the next.

A plan holds what is common to all GPUs that it is for; the rest is compiled where it runs, at the
first run. The library itself sees that kept kernels are of its release, this GPU and this driver.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

_FOLDER = Path("thyroid-triton") / "rtx-kernels"


def kernels_folder() -> Path | None:
    """This user's folder for kept kernels; None where the user has no home."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named / _FOLDER
    try:
        return Path.home() / ".cache" / _FOLDER
    except RuntimeError:
        return None


def kernels_file(folder: Path, plan: bytes) -> Path:
    """Where the kernels of a plan are kept: under the plan's SHA-256."""
    return folder / f"{hashlib.sha256(plan).hexdigest()}.kernels"


class KeptKernels:
    """The kernels of one engine, read from a file where there is one that fits."""

    def __init__(self, config: Any, file: Path) -> None:
        """Give the library what was kept, and have it add what it compiles.

        Args:
            config: The engine's `IRuntimeConfig`, before a context is made by it.
            file: From `kernels_file`. Whatever is wrong with it, everything is compiled anew.
        """
        self._file = file
        self._written = b""
        self._cache = config.create_runtime_cache()
        with contextlib.suppress(OSError):
            content = file.read_bytes()
            if self._cache.deserialize(content):
                self._written = content
        config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write what there is to the file, where it has changed; never raises."""
        memory = self._cache.serialize()
        content = b"" if memory is None else bytes(memory)
        if content in {b"", self._written}:
            return
        # A start without them only takes longer.
        with contextlib.suppress(OSError):
            _replace(self._file, content)
            self._written = content


def _replace(file: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, and is this user's alone: it is code."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as partial:
            partial.write(content)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
