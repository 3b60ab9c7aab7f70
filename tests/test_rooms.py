"""Who may import whom, and how long a module may be: `docs/design.md`, "Rooms"."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = {
    "thyroid_pipeline": ("pipeline", set()),
    "thyroid_client": ("client", {"thyroid_pipeline"}),
    "thyroid_server": ("server", {"thyroid_pipeline"}),
    "thyroid_training": ("training", {"thyroid_pipeline"}),
    "thyroid_export": ("export", {"thyroid_pipeline", "thyroid_training"}),
    "thyroid_benchmarks": (
        "benchmarks",
        {
            "thyroid_pipeline",
            "thyroid_client",
            "thyroid_server",
            "thyroid_training",
            "thyroid_export",
        },
    ),
}
MAX_LINES = 300


def modules_of(checkout: Path, package: str) -> list[Path]:
    return sorted((checkout / ROOMS[package][0] / package).rglob("*.py"))


def imported_packages(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names.add((node.module or "").split(".")[0])
    return names & set(ROOMS)


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_only_what_they_may(checkout: Path, package: str) -> None:
    modules = modules_of(checkout, package)
    assert modules
    allowed = ROOMS[package][1] | {package}
    for module in modules:
        assert imported_packages(module) <= allowed, module


def test_python_models_import_the_pipeline_alone(checkout: Path) -> None:
    models = sorted((checkout / "model_repository").glob("*/1/model.py"))
    assert len(models) == 2
    for model in models:
        assert imported_packages(model) == {"thyroid_pipeline"}


@pytest.mark.parametrize("package", ROOMS)
def test_modules_are_small(checkout: Path, package: str) -> None:
    for module in modules_of(checkout, package):
        assert len(module.read_text().splitlines()) <= MAX_LINES, module


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import thyroid_client", {"cv2", "torch", "onnxruntime"}),
        ("import thyroid_server.embedded", {"torch", "onnx"}),
        ("import thyroid_training.phantom_set", {"torch", "onnx", "sklearn"}),
        ("import thyroid_pipeline.steps", {"torch", "onnx", "onnxruntime"}),
    ],
)
def test_light_parts_stay_light(statement: str, forbidden: set[str]) -> None:
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not forbidden & set(loaded)
