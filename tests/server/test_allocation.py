"""What the server's processes do with freed memory, seen by the page faults of one."""

from __future__ import annotations

import os
import subprocess
import sys

from thyroid_server.allocation import keeping_memory

# Takes and frees what a picture of one megapixel needs, forty times over, and counts page faults.
PICTURES = """
import resource
import numpy as np

def picture():
    grey = np.ones((1000, 1000), np.uint8)
    labels = np.ones((1000, 1000), np.int32)
    return int(grey[0, 0] + labels[0, 0])

picture()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    picture()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES_OF_ONE = 5_000_000 // 4096


def faults(environment: dict[str, str]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PICTURES],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return int(done.stdout)


def test_pages_are_brought_in_once() -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    never_kept = {**bare, "MALLOC_MMAP_THRESHOLD_": "65536"}
    assert faults(never_kept) > 30 * PAGES_OF_ONE
    assert faults(keeping_memory(bare)) < PAGES_OF_ONE


def test_what_the_user_set_stays() -> None:
    kept = keeping_memory({"MALLOC_TRIM_THRESHOLD_": "1", "PATH": "/bin"})
    assert kept["MALLOC_TRIM_THRESHOLD_"] == "1"
    assert kept["PATH"] == "/bin"
    assert int(kept["MALLOC_MMAP_THRESHOLD_"]) > 1 << 20
