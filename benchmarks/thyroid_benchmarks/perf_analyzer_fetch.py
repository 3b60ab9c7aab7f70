"""Fetches NVIDIA's perf_analyzer from package registries, once, and says how to start it."""

from __future__ import annotations

import platform
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from thyroid_benchmarks.peer_environment import PeerUnavailableError, Run, run_command

# The last wheel that holds the program and runs with the C library of Debian 12.
CLIENT_WHEEL = "tritonclient==2.50.0"
CUDA_WHEEL = "nvidia-cuda-runtime-cu12>=12.4,<13"
BASE64_PACKAGE = "libb64-0d"
_PLATFORM = "manylinux1_x86_64"
_CUDA_PLATFORM = "manylinux2014_x86_64"
_COMPLETE = "complete"


@dataclass(frozen=True)
class PerfAnalyzer:
    """A program that can be started.

    Attributes:
        program: Its file.
        libraries: Folders for LD_LIBRARY_PATH.
    """

    program: Path
    libraries: tuple[Path, ...]


def fetch_perf_analyzer(cache: Path, run: Run = run_command) -> PerfAnalyzer:
    """Fetch the program and what it links to, or take what is there.

    Args:
        cache: The folder of what the benchmark fetches.
        run: Runs a command; raises PeerUnavailableError.

    Raises:
        PeerUnavailableError: This machine is another one, or a registry cannot be reached.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise PeerUnavailableError(
            f"the machine is {platform.system()} {platform.machine()}; perf_analyzer is built for "
            "Linux x86_64: cross-check there"
        )
    folder = (cache / f"perf-analyzer-{CLIENT_WHEEL.rpartition('=')[2]}").resolve()
    if not (folder / _COMPLETE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _fetch(folder, run)
        (folder / _COMPLETE).touch()
    return PerfAnalyzer(
        _only(folder, "**/bin/perf_analyzer"),
        (
            _only(folder, "**/libb64.so.0d").parent,
            _only(folder, "**/libcudart.so.12").parent,
        ),
    )


def _fetch(folder: Path, run: Run) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    download += ["--only-binary", ":all:", "--dest", str(folder)]
    run([*download, "--platform", _PLATFORM, CLIENT_WHEEL])
    run([*download, "--platform", _CUDA_PLATFORM, CUDA_WHEEL])
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / wheel.stem)
        wheel.unlink()
    _only(folder, "**/bin/perf_analyzer").chmod(0o755)
    # A Debian package; unpacked here, not installed.
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PeerUnavailableError(
                f"there is no {tool}; perf_analyzer needs {BASE64_PACKAGE} from Debian's packages: "
                "cross-check on a Debian or Ubuntu machine"
            )
    # apt-get writes into its current folder and nowhere else.
    run(["sh", "-c", f'cd "$1" && apt-get -q download {BASE64_PACKAGE}', "sh", str(folder)])
    (package,) = folder.glob("*.deb")
    run(["dpkg-deb", "-x", str(package), str(folder / BASE64_PACKAGE)])


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise PeerUnavailableError(
            f"{pattern.rpartition('/')[2]} is not among what was fetched; {CLIENT_WHEEL}, "
            f"{CUDA_WHEEL} and {BASE64_PACKAGE} should hold it: remove the cache and try again"
        )
    return found[0]
