"""Whether a network in another precision answers as in FP32, by what matters: masks, malignancy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from thyroid_export.gate import Gate
from thyroid_export.parity import Arrays, Parity, ParityError, compare, open_session, run_session
from thyroid_export.parity_inputs import Frames, parity_inputs
from thyroid_pipeline import contract
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.letterbox import Geometry
from thyroid_pipeline.nodules import find_nodules
from thyroid_pipeline.plan_manifest import network_path
from thyroid_training.mask_agreement import dice
from thyroid_training.offline import read_cropper_parameters

Inputs = list[npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Agreement:
    """How well two networks agree on one figure over one set of images.

    Attributes:
        images: The set.
        figure: `dice` of the masks (1 is perfect), or the output whose differences are compared.
        compared: Number of masks or elements.
        mean: Over them.
        worst: The lowest Dice, or the greatest difference.
        worst_row: The image that it is of; 0 where all are alike.
        wanted: What the gate asks; empty where it asks nothing.
        holds: Whether that is so.
    """

    images: str
    figure: str
    compared: int
    mean: float
    worst: float
    worst_row: int
    wanted: str
    holds: bool

    def describe(self) -> str:
        """One line for a reader."""
        bound = f", {self.wanted} wanted" if self.wanted else ""
        return (
            f"{self.figure} on {self.images}: mean {self.mean:.4g}, worst {self.worst:.4g}{bound} "
            f"({self.compared:,} compared)"
        )


@dataclass(frozen=True)
class ImageSet:
    """Inputs of one network.

    Attributes:
        source: What they are, for a report.
        inputs: One array for each of its inputs, batch axis first.
        geometries: Of the frames, where the network finds masks in them; else none.
    """

    source: str
    inputs: Inputs
    geometries: tuple[Geometry, ...] = ()

    def rows(self) -> list[Inputs]:
        """The images one by one."""
        count = len(self.inputs[0])
        return [[array[row : row + 1] for array in self.inputs] for row in range(count)]


def segmentation_set(frames: Frames) -> ImageSet:
    """Frames as inputs of `contract.TRANSUNET`."""
    return ImageSet(frames.source, [frames.frames], frames.geometries)


def phantom_regions(count: int, seed: int) -> ImageSet:
    """Phantoms as inputs of `contract.RESNET18`."""
    return ImageSet("phantoms", parity_inputs(contract.RESNET18, count, seed))


def classification_set(frames: Frames, repository: Path) -> ImageSet:
    """Frames as inputs of `contract.RESNET18`: the regions that the served TransUNet finds in them.

    Each counts as in distribution, so that it has a malignancy to compare.

    Args:
        frames: Of images.
        repository: With the TransUNet in FP32 and the cropper's config.

    Raises:
        FileNotFoundError: The repository has no TransUNet.
    """
    network = network_path(repository, contract.TRANSUNET.name)
    if not network.is_file():
        raise FileNotFoundError(
            f"{network} does not exist, and it is TransUNet that finds the regions which ResNet-18 "
            "is given: export it with `thyroid-export onnx --run FOLDER`"
        )
    parameters = read_cropper_parameters(repository)
    answers = run_rows(open_session(network), contract.TRANSUNET, segmentation_set(frames))
    maps = answers[contract.NODULE_PROBABILITY.name]
    crops = [
        crop_nodule(frame[0], probability[0].astype(np.uint8), geometry, parameters)
        for frame, probability, geometry in zip(frames.frames, maps, frames.geometries, strict=True)
    ]
    regions, _, scores = in_distribution(np.stack([crop.roi for crop in crops])[:, np.newaxis])
    found = np.array([[crop.nodule_found] for crop in crops], np.bool_)
    return ImageSet(frames.source, [regions, found, scores])


def in_distribution(regions: npt.NDArray[np.generic]) -> Inputs:
    """Regions as inputs of `contract.RESNET18`, each of a nodule in a familiar frame.

    Args:
        regions: UINT8 [count, *ROI.shape].
    """
    count = len(regions)
    return [
        regions,
        np.ones((count, *contract.NODULE_FOUND.shape), np.bool_),
        np.zeros((count, *contract.OOD_SCORE.shape), np.float32),
    ]


def run_rows(session: Any, model: contract.Model, images: ImageSet) -> Arrays:
    """Run images one by one, which takes the least memory: outputs by name."""
    rows = tqdm(images.rows(), desc=f"{model.name} on {images.source}", disable=None, leave=False)
    answers = [run_session(session, model, row) for row in rows]
    return {
        tensor.name: np.concatenate([answer[tensor.name] for answer in answers])
        for tensor in model.outputs
    }


def judge(
    model: contract.Model,
    images: ImageSet,
    wanted: Arrays,
    got: Arrays,
    parameters: contract.CropperParameters,
    *,
    gate: Gate,
) -> list[Agreement]:
    """Compare a network's answers on one set of images.

    Args:
        model: A network of the contract.
        images: What it was given.
        wanted: In FP32, outputs by name.
        got: In the other precision.
        parameters: The cropper's, by which a mask is made.
        gate: What the answers are held to.

    Returns:
        Its figures.

    Raises:
        ParityError: NaN stand at different places, or there is nothing to compare.
    """
    figures = []
    if contract.NODULE_PROBABILITY in model.outputs:
        figures.append(_judge_masks(images, wanted, got, parameters, gate.dice_from))
    limits = gate.limits()
    names = [tensor.name for tensor in model.outputs if tensor.name in limits]
    parities = compare(
        {name: wanted[name] for name in names},
        {name: got[name] for name in names},
        {name: limits[name] for name in names},
    )
    return figures + [_of_parity(parity, images, wanted, got) for parity in parities]


def _of_parity(parity: Parity, images: ImageSet, wanted: Arrays, got: Arrays) -> Agreement:
    first, second = (answers[parity.output].astype(np.float64) for answers in (wanted, got))
    by_image = np.nan_to_num(np.abs(first - second)).reshape(len(first), -1).max(axis=1)
    bound = f"at most {parity.tolerance:g}" if np.isfinite(parity.tolerance) else ""
    return Agreement(
        images.source,
        parity.output,
        parity.compared,
        parity.mean_difference,
        parity.largest_difference,
        int(by_image.argmax()),
        bound,
        not bound or parity.holds,
    )


def _judge_masks(
    images: ImageSet,
    wanted: Arrays,
    got: Arrays,
    parameters: contract.CropperParameters,
    dice_from: float,
) -> Agreement:
    name, found = contract.NODULE_PROBABILITY.name, {}
    for row, geometry in enumerate(images.geometries):
        first, second = (
            find_nodules(answers[name][row, 0].astype(np.uint8), geometry, parameters)
            for answers in (wanted, got)
        )
        if first is not None and second is not None:
            found[row] = dice(first.mask, second.mask)
        elif first is not None or second is not None:
            found[row] = 0.0
    if not found:
        raise ParityError(
            f"no nodule is found in any of the {len(images.geometries)} {images.source}, so that "
            "there is no mask to compare: name other images with --data, or a trained network"
        )
    worst_row, worst = min(found.items(), key=lambda item: item[1])
    mean = float(np.mean(list(found.values())))
    bound = f"mean at least {dice_from:g}"
    return Agreement(
        images.source, "dice", len(found), mean, worst, worst_row, bound, mean >= dice_from
    )
