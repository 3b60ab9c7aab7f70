"""A virtual environment of its own for each peer, made when it is first wanted."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import thyroid_benchmarks
import thyroid_pipeline

_COMPLETE = "complete"
_TIMEOUT_S = 1500.0
_LAST_LINES = 4
# What runs the screening in every peer, of the very versions that serve it here.
_COMMON = ("numpy", "onnxruntime", "opencv-python-headless", "pillow")

Run = Callable[[Sequence[str]], None]


class PeerUnavailableError(RuntimeError):
    """A peer cannot be measured here; the message says why, and names no host and no path."""


def run_command(command: Sequence[str]) -> None:
    """Run a command to its end.

    Raises:
        PeerUnavailableError: It failed, or took too long.
    """
    program = next(part for part in command if part != "env" and "=" not in part)
    name = Path(program).name + (f" -m {command[2]}" if list(command[1:2]) == ["-m"] else "")
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailableError(f"{name}: {tidy(str(error))}") from error
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines[-_LAST_LINES:]
        raise PeerUnavailableError(
            f"{name} ended with exit code {done.returncode}: {tidy(' '.join(told[-_LAST_LINES:]))}"
        )


def tidy(text: str) -> str:
    """Shorten a message for a report: no addresses, no paths of this machine."""
    text = re.sub(r"\b[a-z+]+://\S+", "(address)", text)
    text = re.sub(r"host='[^']*'", "host=(name)", text)
    text = re.sub(r"(?<![\w.])/[\w.+@-]+(/[\w.+@-]+)*/?", "(path)", text)
    return text if len(text) <= 600 else text[:600] + "…"


def make_environment(
    cache: Path, name: str, requirements: Sequence[str], run: Run = run_command
) -> Path:
    """Make a peer's environment, or take the one that is there.

    It holds the peer's packages, the common ones and, by path, `thyroid_pipeline` and this package.
    Its name is drawn from all of that, so that a changed requirement makes it anew.

    Args:
        cache: The folder of all environments.
        name: The peer's.
        requirements: As pip takes them.
        run: Runs a command; raises PeerUnavailableError.

    Returns:
        The environment's interpreter.

    Raises:
        PeerUnavailableError: It cannot be made; nothing half-made is taken the next time.
    """
    wanted = [*requirements, *(f"{package}=={version(package)}" for package in _COMMON)]
    paths = [
        str(Path(package.__path__[0]).resolve().parent)
        for package in (thyroid_pipeline, thyroid_benchmarks)
    ]
    made_of = "\n".join([sys.version, *wanted, *paths])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    folder = (cache / f"{name}-{digest}").resolve()
    python = folder / "bin" / "python"
    if (folder / _COMPLETE).is_file():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(folder)])
    run([str(python), "-m", "pip", "install", "--quiet", *wanted])
    for site in folder.glob("lib/python*/site-packages"):
        (site / "thyroid.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    run([str(python), "-c", "import thyroid_benchmarks.peers.screener"])
    (folder / _COMPLETE).touch()
    return python


def installed_versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Ask an environment for the versions of packages."""
    code = (
        "import sys; from importlib.metadata import version; "
        "print('\\n'.join(version(name) for name in sys.argv[1:]))"
    )
    done = subprocess.run(
        [str(python), "-c", code, *packages], check=True, capture_output=True, text=True
    )
    return dict(zip(packages, done.stdout.split(), strict=True))
