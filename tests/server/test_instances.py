"""Links into a model repository, with configurations for another number of instances."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from thyroid_pipeline import contract
from thyroid_server.instances import MOST_INSTANCES, link_models

PROFILE = contract.CPU_PROFILE
SHARING = {model.name for model in contract.NETWORKS}


def read(file: Path) -> ModelConfig:
    return text_format.Parse(file.read_text(), ModelConfig())


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("cores", [1, 2])  # on one core there are two instances as well
def test_where_every_number_fits_it_is_one_link(
    tmp_path: Path, model_repository: Path, cores: int
) -> None:
    link_models(tmp_path / "models", model_repository, PROFILE, cores)
    assert (tmp_path / "models").is_symlink()
    assert (tmp_path / "models").resolve() == model_repository.resolve()


def test_a_profile_that_shares_nothing_is_one_link(tmp_path: Path, model_repository: Path) -> None:
    link_models(tmp_path / "models", model_repository, None, 7)
    assert (tmp_path / "models").is_symlink()


@pytest.mark.parametrize(("cores", "count"), [(3, 3), (MOST_INSTANCES + 1, MOST_INSTANCES)])
def test_networks_get_an_instance_for_each_core_and_nothing_else_changes(
    tmp_path: Path, model_repository: Path, cores: int, count: int
) -> None:
    models = tmp_path / "models"
    before = {file: file.read_bytes() for file in model_repository.rglob("*.pbtxt")}
    link_models(models, model_repository, PROFILE, cores)
    assert {file: file.read_bytes() for file in before} == before
    # rglob follows no links to folders, so each model is looked at by itself.
    assert {path.name for path in models.iterdir()} == {
        path.name for path in model_repository.iterdir()
    }
    for model in contract.MODELS:
        ours, theirs = models / model.name, model_repository / model.name
        assert ours.is_symlink() == (model.name not in SHARING)
        for name in files_below(theirs):
            if "__pycache__" in name.parts:
                continue
            if model.name in SHARING and name == Path("configs") / f"{PROFILE}.pbtxt":
                wanted = read(theirs / name)
                wanted.instance_group[0].count = count
                assert read(ours / name) == wanted
            else:
                assert (ours / name).samefile(theirs / name), name
