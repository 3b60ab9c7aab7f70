"""One network in FP32 and in INT8: quantised, timed in turns, compared, told as JSON holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thyroid_benchmarks.curve_times import open_variants, turns_ms
from thyroid_benchmarks.estimates import percentile
from thyroid_benchmarks.int8_agreement import (
    MalignancyAgreement,
    MaskAgreement,
    compare_malignancies,
    compare_masks,
    malignancy_auroc,
    outline_dice,
)
from thyroid_benchmarks.int8_images import TrialImages, outlined_regions, sample_frames
from thyroid_benchmarks.int8_settings import OFFERED
from thyroid_export.int8_quantise import Setting, fold, quantise
from thyroid_export.int8_ranges import range_inputs
from thyroid_export.mixed_parity import ImageSet, phantom_regions, run_rows, segmentation_set
from thyroid_export.parity import Arrays, open_session
from thyroid_export.parity_inputs import phantom_frames
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import network_path
from thyroid_training.offline import read_cropper_parameters

FP32 = "fp32"
THREADS = 1

Compare = Callable[
    [ImageSet, Arrays, Arrays, contract.CropperParameters], MaskAgreement | MalignancyAgreement
]


@dataclass(frozen=True)
class Judged:
    """What the answers of one network are compared by.

    Attributes:
        sets: Its inputs; the last are those of the outlined images, where there are any.
        compare: Answers in FP32 with those in INT8.
        truth: What answers to the last set are worth by the radiologists' word; None without one.
    """

    sets: tuple[ImageSet, ...]
    compare: Compare
    truth: Callable[[Arrays], float | None] | None


def judged_masks(images: TrialImages, parameters: contract.CropperParameters) -> Judged:
    """What TransUNet is judged by: masks on phantoms, and on outlined images."""
    phantoms = segmentation_set(phantom_frames(images.phantoms, images.seed))
    if not images.samples:
        return Judged((phantoms,), compare_masks, None)
    outlined = segmentation_set(sample_frames(images.samples))
    return Judged(
        (phantoms, outlined),
        compare_masks,
        lambda answers: outline_dice(images.samples, answers, parameters),
    )


def judged_regions(images: TrialImages, parameters: contract.CropperParameters) -> Judged:
    """What ResNet-18 is judged by: regions of phantoms, and those that outlines cut."""
    phantoms = phantom_regions(images.phantoms, images.seed)
    outlined = outlined_regions(images.samples, parameters.margin_share)
    if outlined is None:
        return Judged((phantoms,), compare_malignancies, None)
    regions, labels = outlined
    return Judged(
        (phantoms, regions),
        compare_malignancies,
        lambda answers: malignancy_auroc(labels, answers),
    )


def try_network(
    model: contract.Model,
    settings: Sequence[Setting],
    repository: Path,
    images: TrialImages,
    *,
    folder: Path,
    rounds: int,
) -> dict[str, Any]:
    """Quantise a network of a repository in several ways, time and judge each.

    Args:
        model: `contract.TRANSUNET` or `contract.RESNET18`.
        settings: The ways.
        repository: It is left as it is.
        images: To find ranges over, and to judge by.
        folder: That exists; the quantised files go there.
        rounds: How often each is timed.

    Returns:
        `fp32` with its milliseconds and what its answers are worth, and `settings`: for each its
        milliseconds, their ratio to FP32's of the same round, its agreement, whether it passes,
        and the name under which `thyroid-export onnx` offers it, or None.

    Raises:
        ParityError: There is nothing to compare.
        ValueError: A setting does not fit the network, or there is nothing to find ranges over.
    """
    network = network_path(repository, model.name)
    folded = folder / f"{model.name}.{FP32}.onnx"
    fold(network, folded)
    ranges = range_inputs(model, images.calibration, repository)
    made = {
        setting.name: quantise(
            folded, model, setting, ranges, folder / f"{model.name}.{setting.name}.onnx"
        )
        for setting in settings
    }
    files = {FP32: network} | {name: each.path for name, each in made.items()}
    times_ms = _times_ms(files, rounds, images.seed)
    parameters = read_cropper_parameters(repository)
    judge = judged_regions if model == contract.RESNET18 else judged_masks
    judged = judge(images, parameters)
    wanted = _answers(network, model, judged)
    rows = []
    for setting in settings:
        name = setting.name
        got = _answers(made[name].path, model, judged)
        agreement = [
            judged.compare(inputs, first, second, parameters)
            for inputs, first, second in zip(judged.sets, wanted, got, strict=True)
        ]
        rows.append(
            {
                "name": name,
                "scope": setting.scope.value,
                "numbers": setting.numbers,
                "offered": OFFERED.get((model, setting)),
                "convolutions": made[name].convolutions,
                "all_convolutions": made[name].all_convolutions,
                "ms": _median(times_ms[name]),
                "ms_over_fp32": _median(np.divide(times_ms[name], times_ms[FP32])),
                "agreement": [asdict(each) for each in agreement],
                "truth": _truth(judged, got),
                "passes": all(each.holds for each in agreement),
            }
        )
    return {
        FP32: {"ms": _median(times_ms[FP32]), "truth": _truth(judged, wanted)},
        "settings": rows,
    }


def _times_ms(files: Mapping[str, Path], rounds: int, seed: int) -> dict[str, list[float]]:
    runs = open_variants(files, THREADS, seed)
    times = turns_ms({(name, THREADS): run for name, run in runs.items()}, rounds, seed=seed)
    return {name: values for (name, _), values in times.items()}


def _median(values: npt.ArrayLike) -> dict[str, float | None]:
    return percentile(np.asarray(values, np.float64), 50).as_dict()


def _answers(path: Path, model: contract.Model, judged: Judged) -> list[Arrays]:
    session = open_session(path)
    return [run_rows(session, model, images) for images in judged.sets]


def _truth(judged: Judged, answers: Sequence[Arrays]) -> float | None:
    return None if judged.truth is None else judged.truth(answers[-1])
