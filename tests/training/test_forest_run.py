"""A forest's table from outlined images, and the run's folder that gives the forest back."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thyroid_pipeline import contract
from thyroid_training.dataset import Sample, make_sample
from thyroid_training.forest import ForestConfig, forest_malignancy
from thyroid_training.forest_run import (
    ForestTable,
    load_forest_run,
    outlined_morphology,
    predicted_morphology,
    save_forest_run,
    training_table,
)
from thyroid_training.runs import RunError

HEIGHT_PX, WIDTH_PX = 360, 560
SIDE = contract.MAP_SIDE_PX
CONFIG = ForestConfig(trees=10, seed=3)


def ellipse(half_width: float, half_height: float) -> Any:
    """An upright ellipse in the middle of the image."""
    rows, columns = np.indices((HEIGHT_PX, WIDTH_PX)) + 0.5
    x, y = (columns - WIDTH_PX / 2) / half_width, (rows - HEIGHT_PX / 2) / half_height
    return x**2 + y**2 <= 1


def sample(truth: Any, label: int | None, name: str = "a") -> Sample:
    """An image of bright tissue, dark within the outline."""
    noise = np.random.default_rng(0).integers(0, 20, (HEIGHT_PX, WIDTH_PX))
    grey = np.where(truth, 60, 120) + noise
    return make_sample(name, name, grey.astype(np.uint8), truth, label)


def disc_map(
    radius: float, value: int = 255, centre: tuple[int, int] = (SIDE // 2, SIDE // 2)
) -> Any:
    """A network's answer: a disc on its grid."""
    rows, columns = np.indices((SIDE, SIDE))
    inside = np.hypot(rows - centre[0], columns - centre[1]) <= radius
    return np.where(inside, np.uint8(value), np.uint8(0))


def figure(row: Any, name: str) -> float:
    return float(row[contract.MORPHOLOGY_FIELDS.index(name)])


# --- figures of images


def test_an_outlined_ellipse_has_its_formulas_figures() -> None:
    flat = outlined_morphology([sample(ellipse(120, 60), 1)])
    assert flat.dtype == np.float32
    assert flat.shape == (1, 18)
    assert figure(flat[0], "area_px2") == pytest.approx(math.pi * 120 * 60, rel=0.02)
    assert figure(flat[0], "height_to_width") == pytest.approx(0.5, rel=0.03)
    assert figure(flat[0], "eccentricity") == pytest.approx(math.sqrt(1 - 0.25), rel=0.02)
    assert figure(flat[0], "extent") == pytest.approx(math.pi / 4, rel=0.03)
    assert figure(flat[0], "solidity") == pytest.approx(1, abs=0.02)
    # (60 + 9.5) / (120 + 9.5): tissue and nodule with the mean of the noise.
    assert figure(flat[0], "echo_ratio") == pytest.approx(69.5 / 129.5, rel=0.05)
    tall = outlined_morphology([sample(ellipse(60, 120), 1)])
    assert figure(tall[0], "height_to_width") == pytest.approx(2, rel=0.03)


def test_no_outline_and_a_speck_have_no_figures() -> None:
    rows = outlined_morphology([sample(ellipse(1e-9, 1e-9), 0), sample(ellipse(5, 5), 0)])
    assert np.isnan(rows).all()
    assert outlined_morphology([]).shape == (0, 18)


def test_a_prediction_is_measured_and_not_the_outline() -> None:
    samples = [sample(ellipse(120, 60), 1)] * 2
    disc, nothing = predicted_morphology(samples, [disc_map(30), disc_map(30, 0)])
    scale = WIDTH_PX / SIDE  # the image fills the width of the frame
    assert figure(disc, "area_px2") == pytest.approx(math.pi * (30 * scale) ** 2, rel=0.05)
    assert figure(disc, "height_to_width") == pytest.approx(1, rel=0.03)
    assert np.isnan(nothing).all()


def test_the_cropper_s_parameters_count() -> None:
    samples, maps = [sample(ellipse(120, 60), 1)], [disc_map(30, 200)]
    strict = contract.CropperParameters(threshold=0.9)
    assert not np.isnan(predicted_morphology(samples, maps)).all()
    assert np.isnan(predicted_morphology(samples, maps, strict)).all()


def test_table_holds_outlines_and_the_predictions_that_hit() -> None:
    truth = ellipse(120, 60)
    samples = [
        sample(truth, 1, "hit"),
        sample(truth, None, "without a grade"),
        sample(truth, 0, "missed"),
        sample(truth, 0, "nothing found"),
    ]
    beside = disc_map(12, centre=(SIDE // 2, 14))
    maps = [disc_map(30), disc_map(30), beside, disc_map(30, 0)]
    table = training_table(samples, maps)
    assert table.labels.tolist() == [1, 0, 0, 1]
    assert table.labels.dtype == np.int64
    outlined = outlined_morphology(samples[:1])[0]
    assert np.array_equal(table.morphology[:3], np.stack([outlined] * 3))
    assert np.array_equal(table.morphology[3:], predicted_morphology(samples[:1], maps[:1]))
    alone = training_table(samples)
    assert alone.labels.tolist() == [1, 0, 0]
    assert np.array_equal(alone.morphology, table.morphology[:3])
    # The map that misses was a nodule to the cropper: it was left out for where it lies.
    assert not np.isnan(predicted_morphology([samples[2]], [beside])).all()


def test_outlines_that_cannot_be_measured_are_left_out() -> None:
    speck = sample(ellipse(5, 5), 1)
    assert training_table([speck, sample(ellipse(120, 60), 0)]).labels.tolist() == [0]


def test_a_map_for_each_sample_is_wanted() -> None:
    samples = [sample(ellipse(120, 60), 1)] * 2
    with pytest.raises(ValueError, match="1 maps came for 2 samples; one for each was wanted"):
        training_table(samples, [disc_map(30)])
    with pytest.raises(ValueError, match="shorter"):
        predicted_morphology(samples, [disc_map(30)])


# --- the run's folder


@pytest.fixture
def table() -> ForestTable:
    labels = np.arange(80) % 2
    rows = np.random.default_rng(0).normal(size=(80, 18)).astype(np.float32)
    rows[:, 8] += labels
    rows[5, 16] = np.nan
    return ForestTable(rows, labels)


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_forest_comes_back_to_the_bit(tmp_path: Path, table: ForestTable) -> None:
    folder = tmp_path / "new" / "run"
    saved = save_forest_run(folder, table, CONFIG, {"ddti_graded": 40})
    loaded, record = load_forest_run(folder)
    assert loaded.config == CONFIG
    assert np.array_equal(
        forest_malignancy(loaded, table.morphology), forest_malignancy(saved, table.morphology)
    )
    assert record["network"] == "morphology_forest"
    assert record["data"] == {"ddti_graded": 40, "rows": 80, "malignant": 40}
    assert record["fit"] == {**dataclasses.asdict(CONFIG), "fields": list(CONFIG.fields)}
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "table.npz"]
    with np.load(folder / "table.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["labels", "morphology"]  # figures and grades: no pixel


def test_a_table_that_cannot_be_fitted_on_leaves_no_run(tmp_path: Path, table: ForestTable) -> None:
    benign = ForestTable(table.morphology, np.zeros_like(table.labels))
    with pytest.raises(ValueError, match="at least one"):
        save_forest_run(tmp_path / "run", benign, CONFIG, {})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "resnet18"}, "'resnet18'; morphology_forest was wanted: give the folder"),
        ({"morphology_fields": ["area"]}, r"the figures \['area'\]; area_px2, .* make the run"),
        ({"fit": {"fields": ["area"]}}, r"describes no forest .*`fields` are area.*make the run"),
        ({"fit": {"fields": ["extent"], "leaves": 1}}, "describes no forest .*leaves.*make the"),
        ({"fit": 3}, "describes no forest .*make the run again"),
    ],
)
def test_a_record_of_something_else_is_refused(
    tmp_path: Path, table: ForestTable, changes: dict[str, object], words: str
) -> None:
    save_forest_run(tmp_path, table, CONFIG, {})
    rewrite(tmp_path, **changes)
    with pytest.raises(RunError, match=words):
        load_forest_run(tmp_path)


def test_a_damaged_or_missing_table_is_refused(tmp_path: Path, table: ForestTable) -> None:
    save_forest_run(tmp_path, table, CONFIG, {})
    path = tmp_path / "table.npz"
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no archive at all"):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"table\.npz holds no table .*make the run again"):
            load_forest_run(tmp_path)
    with path.open("wb") as file:
        np.savez(file, morphology=table.morphology)
    with pytest.raises(RunError, match="labels"):
        load_forest_run(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"table\.npz does not exist: the folder of a"):
        load_forest_run(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run\.json does not exist"):
        load_forest_run(tmp_path)
