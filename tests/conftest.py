"""What all folders share: the checkout, the real server, the offline pipeline, other networks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_training.offline import OfflinePipeline

# Property tests are judged by what they find, not by how long a busy machine takes over it.
hypothesis_settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("untimed")

# What they assert is said with its values, as it is in the tests.
pytest.register_assert_rewrite("ensemble_calls", "made_up_plans", "plan_checks")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of networks as small as the tests' wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def checkout() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def model_repository(checkout: Path) -> Path:
    return checkout / "model_repository"


@pytest.fixture(scope="session")
def ddti(checkout: Path) -> Path:
    """The DDTI set where it lies beside the checkout; it may not be part of the repository."""
    folder = checkout.parent / "shared" / "data" / "ddti"
    if not folder.is_dir():
        pytest.skip(f"the DDTI set is not at {folder}; its licence keeps it out of the repository")
    return folder


@pytest.fixture(scope="session")
def server(model_repository: Path) -> Iterator[EmbeddedTriton]:
    """The real Triton with the shipped models, on free ports."""
    settings = ServerSettings(model_repository=model_repository, profile="cpu")
    with EmbeddedTriton(settings) as running:
        yield running


@pytest.fixture(scope="session")
def offline(model_repository: Path) -> OfflinePipeline:
    """The same screening in PyTorch, without Triton."""
    return OfflinePipeline.from_repository(model_repository)


@pytest.fixture(scope="session")
def int8_repository(tmp_path_factory: pytest.TempPathFactory, model_repository: Path) -> Path:
    """A copy of the shipped repository with its ResNet-18 in INT8, as a user makes it."""
    from thyroid_export.cli import main  # noqa: PLC0415  # onnx

    folder = tmp_path_factory.mktemp("int8") / "models"
    shutil.copytree(
        model_repository, folder, ignore=shutil.ignore_patterns("__pycache__", "*.plan*")
    )
    arguments = ["--model-repository", str(model_repository), "--precision", "int8"]
    result = CliRunner().invoke(main, ["onnx", *arguments, "--out", str(folder)])
    assert result.exit_code == 0, result.output
    assert "resnet18/1/model.onnx: int8\n" in result.output
    assert "transunet" not in result.output
    return folder


@pytest.fixture(scope="session")
def miniature_repository(tmp_path_factory: pytest.TempPathFactory, model_repository: Path) -> Path:
    """A model repository whose networks run in milliseconds; no test changes it."""
    from small_repository import make_repository  # noqa: PLC0415  # torch's exporter

    return make_repository(tmp_path_factory.mktemp("miniature") / "models", model_repository)
