"""Whether the server in this container screens: one image through the ensemble, end to end.

Triton goes on saying that it is ready when the process of a Python model has died. Exit code 0 for
ready, 1 for not, as Docker wants it.
"""

from __future__ import annotations

import sys

from thyroid_pipeline import contract
from thyroid_pipeline.warmup import warmup_image
from thyroid_server.errors import ReadinessError
from thyroid_server.readiness import screen_once

_TIMEOUT_S = 15.0  # below the image's --timeout, so that the reason is told


def main() -> int:
    """Screen the warm-up image on this container's own port."""
    address = sys.argv[1] if len(sys.argv) > 1 else f"127.0.0.1:{contract.GRPC_PORT}"
    try:
        screen_once(address, warmup_image(), _TIMEOUT_S)
    except ReadinessError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
