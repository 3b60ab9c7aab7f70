"""Finds the pieces of the wheel nvidia-pytriton, which carries a real tritonserver.

Only its files are used: its Python package is never imported, since importing it changes logging
and starts helpers of its own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from thyroid_server.errors import WheelError

DISTRIBUTION = "nvidia-pytriton"
STUB_NAME = "triton_python_backend_stub"
_REINSTALL = (
    f"reinstall it into the environment of {sys.executable}: "
    "pip install --force-reinstall 'thyroid-triton[server]'"
)


@dataclass(frozen=True)
class TritonWheel:
    """The files of an installed wheel that a server needs.

    Attributes:
        server: The `tritonserver` executable.
        python_library: `libtriton_python.so`, the Python backend.
        python_utilities: `triton_python_backend_utils.py`, which models import.
        stub: The process that runs one Python model, for this interpreter's minor version.
        libraries: The folder of shared libraries that all of these link to.
    """

    server: Path
    python_library: Path
    python_utilities: Path
    stub: Path
    libraries: Path


def installed_root() -> Path:
    """The site-packages folder that holds the wheel.

    Raises:
        WheelError: The wheel is not installed.
    """
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise WheelError(
            f"the wheel {DISTRIBUTION} is not installed for {sys.executable}",
            wanted="the wheel that carries the tritonserver binary and its Python backend",
            mend="pip install 'thyroid-triton[server]'",
        ) from error
    return Path(str(distribution.locate_file("")))


def find_wheel(root: Path | None = None, *, minor: int = sys.version_info.minor) -> TritonWheel:
    """Find every piece of the wheel.

    Args:
        root: The site-packages folder to look in; None looks where the wheel is installed.
        minor: The Python 3 minor version that the stub must be for.

    Raises:
        WheelError: The wheel or a piece of it is missing.
    """
    root = installed_root() if root is None else root
    triton = root / "pytriton" / "tritonserver"
    wheel = TritonWheel(
        server=triton / "bin" / "tritonserver",
        python_library=triton / "backends" / "python" / "libtriton_python.so",
        python_utilities=triton / "backends" / "python" / "triton_python_backend_utils.py",
        stub=triton / "python_backend_stubs" / f"3.{minor}" / STUB_NAME,
        libraries=root / "nvidia_pytriton.libs",
    )
    if not wheel.stub.is_file():
        stubs = sorted(
            (path.parent.name for path in triton.glob(f"python_backend_stubs/*/{STUB_NAME}")),
            key=lambda version: [int(part) for part in version.split(".")],
        )
        raise WheelError(
            f"the wheel {DISTRIBUTION} has no Python stub for Python 3.{minor}, "
            f"only for {', '.join(stubs) or 'no version at all'}",
            wanted=str(wheel.stub),
            mend="use Python 3.10, 3.11 or 3.12" if stubs else _REINSTALL,
        )
    for piece in (wheel.server, wheel.python_library, wheel.python_utilities):
        if not piece.is_file():
            raise WheelError(
                f"the wheel {DISTRIBUTION} is incomplete: {piece.name} is missing",
                wanted=str(piece),
                mend=_REINSTALL,
            )
    if not wheel.libraries.is_dir():
        raise WheelError(
            f"the wheel {DISTRIBUTION} is incomplete: its folder of libraries is missing",
            wanted=str(wheel.libraries),
            mend=_REINSTALL,
        )
    return wheel
