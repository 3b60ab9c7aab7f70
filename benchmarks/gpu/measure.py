"""Measures one profile on this machine: `python benchmarks/gpu/measure.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

# Benchmarks are run from a checkout and not installed. Processes that prepare images import this
# file again.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from thyroid_benchmarks.gpu_command import main

if __name__ == "__main__":
    main(prog_name="measure.py")
