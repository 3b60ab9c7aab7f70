"""Our model repository with ResNet-18 in INT8, as `thyroid-export onnx` writes it."""

from __future__ import annotations

from pathlib import Path

from thyroid_benchmarks.layouts_repositories import derive
from thyroid_export.export_mixed import export_mixed
from thyroid_export.low_precision import LOW_PRECISIONS
from thyroid_pipeline import contract


def derive_int8(folder: Path, model_repository: Path) -> None:
    """Write a repository whose ResNet-18 is in INT8; it is made anew, and passes its gate.

    Args:
        folder: Where to; it must not exist.
        model_repository: Ours, with the networks in FP32.

    Raises:
        ParityError: It does not pass.
    """
    derive(folder, model_repository)
    # What `derive` has linked is ours, which stays FP32.
    (folder / contract.RESNET18.name / contract.MODEL_VERSION).unlink()
    export_mixed(model_repository, folder, contract.RESNET18, LOW_PRECISIONS["int8"])
