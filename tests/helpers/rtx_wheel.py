"""Where TensorRT for RTX can be had."""

from __future__ import annotations

import platform
import sys

import pytest

needs_rtx = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the extra `rtx` brings its wheel for Linux on x86-64 alone",
)
