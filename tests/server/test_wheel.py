"""The wheel that carries Triton: what of it is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from thyroid_server import wheel
from thyroid_server.errors import WheelError

MINOR = sys.version_info.minor


def test_a_missing_wheel(monkeypatch: pytest.MonkeyPatch, message_of: Any) -> None:
    monkeypatch.setattr(wheel, "DISTRIBUTION", "nvidia-pytriton-of-another-planet")
    with pytest.raises(WheelError) as error:
        wheel.find_wheel()
    assert "not installed" in message_of(error)


def test_a_wheel_without_a_stub_for_this_python(
    tmp_path: Path, fake_wheel: Any, message_of: Any
) -> None:
    fake_wheel(tmp_path)
    with pytest.raises(WheelError) as error:
        wheel.find_wheel(tmp_path, minor=99)
    assert f"no Python stub for Python 3.99, only for 3.{MINOR}" in message_of(error)


@pytest.mark.parametrize("piece", ["server", "python_library", "python_utilities"])
def test_a_wheel_without_a_piece(
    tmp_path: Path, fake_wheel: Any, message_of: Any, piece: str
) -> None:
    missing: Path = getattr(fake_wheel(tmp_path), piece)
    missing.unlink()
    with pytest.raises(WheelError) as error:
        wheel.find_wheel(tmp_path)
    assert f"{missing.name} is missing" in message_of(error)


def test_a_wheel_without_its_libraries(tmp_path: Path, fake_wheel: Any, message_of: Any) -> None:
    fake_wheel(tmp_path).libraries.rmdir()
    with pytest.raises(WheelError) as error:
        wheel.find_wheel(tmp_path)
    assert "libraries is missing" in message_of(error)
