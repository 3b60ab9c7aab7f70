"""Inputs on which two runtimes are compared: phantoms for networks, rows of figures for trees."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.letterbox import Geometry
from thyroid_training.forest import Forest
from thyroid_training.phantoms import make_phantom

_SIDE = contract.ROI_SIDE_PX
_FAR = np.float32(np.inf)
_RARE = 0.05
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Frames:
    """Images as the networks see them, and the way back to their own pixels.

    Attributes:
        source: What they are, for a report.
        frames: UINT8 [count, *FRAME.shape].
        geometries: Of each frame.
    """

    source: str
    frames: npt.NDArray[np.uint8]
    geometries: tuple[Geometry, ...]


def phantom_frames(count: int, seed: int) -> Frames:
    """Make phantoms, and of them frames.

    Args:
        count: How many.
        seed: Of the first; each has its own.
    """
    made = []
    for row in range(count):
        buffer = io.BytesIO()
        Image.fromarray(make_phantom(seed + row).image).save(buffer, "PNG")
        made.append(make_frame(buffer.getvalue()))
    return _gather("phantoms", made)


def folder_frames(folder: Path, limit: int | None = None) -> Frames:
    """Make frames of the images in a folder.

    Args:
        folder: Holds images, or a folder `images` that does.
        limit: At most so many, evenly spread over their names' order; None for all.

    Raises:
        ValueError: There is no image, or one cannot be screened.
    """
    inner = folder / "images"
    files = sorted(
        path
        for path in (inner if inner.is_dir() else folder).iterdir()
        if path.suffix.lower() in _SUFFIXES
    )
    if not files:
        raise ValueError(
            f"{folder} holds no image; files ending in {', '.join(sorted(_SUFFIXES))} were wanted, "
            "in it or in its folder `images`: name another with --data"
        )
    if limit is not None and limit < len(files):
        files = [files[row * len(files) // limit] for row in range(limit)]
    made = []
    for file in files:
        try:
            made.append(make_frame(file.read_bytes()))
        except ImageError as error:
            raise ValueError(f"{file}: {error}; take it out of the folder") from error
    return _gather(folder.name, made)


def _gather(source: str, made: list[tuple[npt.NDArray[np.uint8], Geometry]]) -> Frames:
    frames = np.stack([frame for frame, _ in made])[:, np.newaxis]
    return Frames(source, frames, tuple(geometry for _, geometry in made))


def parity_inputs(model: contract.Model, count: int, seed: int) -> list[npt.NDArray[np.generic]]:
    """Make inputs for a network.

    Args:
        model: `contract.TRANSUNET` or `contract.RESNET18`.
        count: Batch size, at least 2.
        seed: Of the first phantom.

    Returns:
        One array for each of the model's inputs: phantom frames, or their middles as regions of
        interest, of which the last is `no nodule` and, where there are more than two, the one
        before it out of distribution.
    """
    frames = phantom_frames(count, seed).frames
    if model == contract.TRANSUNET:
        return [frames]
    start = (contract.FRAME_SIDE_PX - _SIDE) // 2
    rois = np.ascontiguousarray(frames[:, :, start : start + _SIDE, start : start + _SIDE])
    found = np.ones((count, *contract.NODULE_FOUND.shape), np.bool_)
    rois[-1], found[-1] = 0, False
    scores = np.full((count, *contract.OOD_SCORE.shape), 0.5 * contract.OOD_LIMIT, np.float32)
    scores[1:-1][-1:] = 2 * contract.OOD_LIMIT
    return [rois, found, scores]


def forest_inputs(forest: Forest, count: int, seed: int) -> list[npt.NDArray[np.generic]]:
    """Make inputs for a forest, where trees in another precision would go wrong.

    Args:
        forest: Fitted.
        count: Batch size.
        seed: Of the choice.

    Returns:
        One array for each input of `contract.MORPHOLOGY_FOREST`. Each figure is the limit of a
        split, or the next FP32 number below or above one. One in twenty could not be measured, one
        nodule in twenty was not found, and one frame in twenty is out of distribution.
    """
    rng = np.random.default_rng(seed)
    rows = np.empty((count, *contract.MORPHOLOGY.shape), np.float32)
    limits = _split_limits(forest)
    for column in range(rows.shape[1]):
        name = contract.MORPHOLOGY_FIELDS[column]
        # A field that the forest does not see, or never split on, may hold anything.
        exact = limits.get(name, np.ones(1, np.float32))
        near = np.concatenate([exact, *(np.nextafter(exact, side) for side in (-_FAR, _FAR))])
        rows[:, column] = rng.choice(near, count)
    rows[rng.random(rows.shape) < _RARE] = np.nan
    found = rng.random((count, *contract.NODULE_FOUND.shape)) >= _RARE
    is_out = rng.random((count, *contract.OOD_SCORE.shape)) < _RARE
    limit = np.float32(contract.OOD_LIMIT)
    return [rows, found, np.where(is_out, np.nextafter(limit, _FAR), limit)]


def _split_limits(forest: Forest) -> dict[str, npt.NDArray[np.float32]]:
    """The limits of all splits in FP32, by field."""
    trees = [estimator.tree_ for estimator in forest.pipeline[-1].estimators_]
    features = np.concatenate([tree.feature for tree in trees])
    limits = np.concatenate([tree.threshold for tree in trees])
    return {
        name: np.unique(limits[features == index]).astype(np.float32)
        for index, name in enumerate(forest.config.fields)
        if (features == index).any()
    }
