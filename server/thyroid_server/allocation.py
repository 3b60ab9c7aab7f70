"""How the server's processes keep memory: what an image freed is there for the next one."""

from __future__ import annotations

from collections.abc import Mapping

# glibc gives a large block that is freed back to the system, and the next image's faults bring each
# page of it in again: 350 of them and 3 ms of system time a case. With these, blocks come from the
# heap, and the heap's end stays until so much of it is free. Other C libraries do not read them.
_FROM_HEAP_BELOW_BYTES = 32 << 20  # the most that glibc takes
_KEPT_BYTES = 64 << 20


def keeping_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """Add to a process's environment that its C library keeps freed memory.

    Args:
        environment: Of the process; what it already says of either stays.
    """
    return {
        "MALLOC_MMAP_THRESHOLD_": str(_FROM_HEAP_BELOW_BYTES),
        "MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES),
        **environment,
    }
