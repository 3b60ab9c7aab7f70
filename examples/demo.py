"""The whole way once: make phantoms, start Triton, screen them through gRPC, write the report."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_training.phantom_set import write_phantom_set

PHANTOMS = 12
WITHOUT_NODULE = 3
SEED = 2

CHECKOUT = Path(__file__).resolve().parent.parent


def main(out: Path) -> int:
    """Run the demonstration.

    Args:
        out: Folder for phantoms, answers and report; what an earlier demonstration left is removed.

    Returns:
        The exit code of `thyroid-screen`: 0 where every phantom was screened.
    """
    for name in ("phantoms", "answers"):
        shutil.rmtree(out / name, ignore_errors=True)
    write_phantom_set(out / "phantoms", PHANTOMS, SEED, WITHOUT_NODULE)
    print(f"made {PHANTOMS} phantoms, {WITHOUT_NODULE} of them without a nodule", flush=True)
    settings = ServerSettings(
        model_repository=CHECKOUT / "model_repository", profile="cpu", log_file=out / "server.log"
    )
    with EmbeddedTriton(settings) as server:
        print(f"Triton Inference Server is ready on {server.grpc_address}", flush=True)
        # The command beside this interpreter, as a user would type it.
        screen = [str(Path(sys.executable).with_name("thyroid-screen")), "--server"]
        screen += [server.grpc_address, str(out / "phantoms/images"), "--out", str(out / "answers")]
        return subprocess.run(screen, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo")))
