"""Links into a model repository, with configurations for another number of instances."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from thyroid_pipeline import contract
from thyroid_server.instances import MOST_INSTANCES, link_models

NETWORKS = {model.name for model in contract.NETWORKS}
STEPS = {contract.FRAME_DECODER.name, contract.ROI_CROPPER.name}
# None is the profile of the TensorRT plans.
GROWING = {contract.CPU_PROFILE: NETWORKS, contract.RTX_PROFILE: STEPS, None: STEPS}


def read(file: Path) -> ModelConfig:
    return text_format.Parse(file.read_text(), ModelConfig())


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("profile", "cores"),
    # On one core there are two instances as well.
    [(contract.CPU_PROFILE, 1), (contract.CPU_PROFILE, 2), (contract.RTX_PROFILE, 4), (None, 4)],
)
def test_where_every_number_fits_it_is_one_link(
    tmp_path: Path, model_repository: Path, profile: str | None, cores: int
) -> None:
    link_models(tmp_path / "models", model_repository, profile, cores)
    assert (tmp_path / "models").is_symlink()
    assert (tmp_path / "models").resolve() == model_repository.resolve()


@pytest.mark.parametrize("profile", GROWING)
@pytest.mark.parametrize(("cores", "count"), [(1, 2), (3, 3), (MOST_INSTANCES + 1, MOST_INSTANCES)])
def test_some_models_get_an_instance_for_each_core_and_nothing_else_changes(
    tmp_path: Path, model_repository: Path, profile: str | None, cores: int, count: int
) -> None:
    models = tmp_path / "models"
    before = {file: file.read_bytes() for file in model_repository.rglob("*.pbtxt")}
    link_models(models, model_repository, profile, cores)
    if models.is_symlink():
        assert (profile, cores) == (contract.CPU_PROFILE, 1)  # which has two as it is
        return
    config = Path("config.pbtxt" if profile is None else f"configs/{profile}.pbtxt")
    assert {file: file.read_bytes() for file in before} == before
    # rglob follows no links to folders, so each model is looked at by itself.
    assert {path.name for path in models.iterdir()} == {
        path.name for path in model_repository.iterdir()
    }
    for model in contract.MODELS:
        ours, theirs = models / model.name, model_repository / model.name
        assert ours.is_symlink() == (model.name not in GROWING[profile])
        for name in files_below(theirs):
            if "__pycache__" in name.parts:
                continue
            if model.name in GROWING[profile] and name == config:
                wanted = read(theirs / name)
                wanted.instance_group[0].count = count
                assert read(ours / name) == wanted
            else:
                assert (ours / name).samefile(theirs / name), name
