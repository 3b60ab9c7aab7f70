"""Whether the evidence map says what the malignancy hangs on: measured, not assumed.

Deletion and insertion (V. Petsiuk, A. Das, K. Saenko, *RISE*, BMVC 2018, arXiv 1806.07421): take
the region away in the order of the evidence for malignancy, the strongest first, and the
malignancy should fall sooner than in a random order; bring it back in that order, and it should
rise sooner. What is taken away is blurred, not blacked: a black patch is a picture of its own, and
in an ultrasound it looks like a cyst or a shadow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_training.bootstrap import (
    Interval,
    Weights,
    group_intervals,
    percentile_bounds,
    resample_weights,
    weighted_mean,
)

SHARES = tuple(step / 10 for step in range(11))
"""Of the region's pixels that are taken away or brought back, in turn."""

# Half a cell of the evidence map: nothing that the map could point at is left in focus.
BLUR_SIGMA_PX = contract.ROI_SIDE_PX / contract.EVIDENCE_SIDE / 2

Region = npt.NDArray[np.uint8]
Evidence = npt.NDArray[np.float32]
Malignancies = npt.NDArray[np.float64]
Model = Callable[[Region], Malignancies]
"""From regions UINT8 [B, ROI_SIDE_PX, ROI_SIDE_PX] to malignancies FP64 [B]."""


@dataclass(frozen=True, eq=False)
class Explanations:
    """Curves and masses of N images, each by a network that never saw the patient.

    Attributes:
        groups: Patient of each image.
        shares: Of the region, ascending from 0 to 1, [K].
        deletion: FP64 [N, K], malignancy after the share of the strongest evidence is taken away.
        insertion: FP64 [N, K], malignancy after it is brought back into the blurred region.
        random_deletion: FP64 [N, K], the same in a random order.
        random_insertion: FP64 [N, K].
        mass_inside: FP64 [N], share of the evidence's mass on the nodule; NaN for an empty map.
        area_inside: FP64 [N], share of the region that the nodule covers: the mass that an even
            map would have there.

    Raises:
        ValueError: Shapes disagree.
    """

    groups: tuple[str, ...]
    shares: tuple[float, ...]
    deletion: Malignancies
    insertion: Malignancies
    random_deletion: Malignancies
    random_insertion: Malignancies
    mass_inside: npt.NDArray[np.float64]
    area_inside: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        wanted = (len(self.groups), len(self.shares))
        curves = {name: curve.shape for name, curve in self.curves.items()}
        single = {self.mass_inside.shape, self.area_inside.shape}
        if set(curves.values()) != {wanted} or single != {wanted[:1]}:
            raise ValueError(
                f"curves {curves}, masses {self.mass_inside.shape} and areas "
                f"{self.area_inside.shape} came; {wanted} for {len(self.groups)} groups and "
                f"{len(self.shares)} shares, and {wanted[:1]}, were wanted"
            )

    @property
    def curves(self) -> dict[str, Malignancies]:
        """The four sets of curves by name."""
        return {
            "deletion": self.deletion,
            "insertion": self.insertion,
            "random_deletion": self.random_deletion,
            "random_insertion": self.random_insertion,
        }


def upsample_evidence(evidence: Evidence) -> Evidence:
    """Lay the evidence over the region: each cell over its own square, bilinear between centres.

    Args:
        evidence: FP32 [EVIDENCE_SIDE, EVIDENCE_SIDE] in logits.

    Returns:
        FP32 [ROI_SIDE_PX, ROI_SIDE_PX].
    """
    side = contract.ROI_SIDE_PX
    return np.asarray(cv2.resize(evidence, (side, side), interpolation=cv2.INTER_LINEAR))


def blurred(roi: Region) -> Region:
    """The region without what could tell one nodule from another, but as bright as before."""
    return np.asarray(cv2.GaussianBlur(roi, (0, 0), BLUR_SIGMA_PX), np.uint8)


def perturbed_regions(
    roi: Region, evidence: Evidence, shares: tuple[float, ...] = SHARES
) -> tuple[Region, Region]:
    """Take a region away, and bring it back, by the evidence for malignancy, the strongest first.

    Args:
        roi: UINT8 [ROI_SIDE_PX, ROI_SIDE_PX].
        evidence: FP32 [EVIDENCE_SIDE, EVIDENCE_SIDE] in logits; above 0 speaks for malignant.
        shares: K shares of the region's pixels, each from 0 to 1.

    Returns:
        Regions with the share blurred, and blurred regions with the share restored: UINT8
        [K, ROI_SIDE_PX, ROI_SIDE_PX] each. Pixels of equal evidence go in the order of rows.
    """
    order = np.argsort(-upsample_evidence(evidence), axis=None, kind="stable")
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    counts = np.rint(np.asarray(shares) * order.size)
    touched = rank.reshape(roi.shape) < counts[:, None, None]
    baseline = blurred(roi)
    return np.where(touched, baseline, roi), np.where(touched, roi, baseline)


def shuffled_evidence(evidence: Evidence, generator: np.random.Generator) -> Evidence:
    """The same cells in other places: a random order as coarse and as smooth as the map's own.

    Single pixels in random order would be noise all over the region, another kind of damage.
    """
    return generator.permutation(evidence.ravel()).reshape(evidence.shape)


def mass_inside(evidence: Evidence, nodule: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Share of the evidence on the nodule, and the share that an even map would have there.

    Args:
        evidence: FP32 [EVIDENCE_SIDE, EVIDENCE_SIDE] in logits.
        nodule: bool [ROI_SIDE_PX, ROI_SIDE_PX], the radiologist's outline, cut as the region was.

    Returns:
        The share of the sum of |evidence| on the nodule (what speaks for benign is evidence, too;
        NaN where the map is 0 throughout), and the nodule's share of the region.
    """
    mass = np.abs(upsample_evidence(evidence)).astype(np.float64)
    total = float(mass.sum())
    return float(mass[nodule].sum()) / total if total else float("nan"), float(nodule.mean())


def explain(
    groups: tuple[str, ...],
    rois: Region,
    evidence: Evidence,
    nodules: npt.NDArray[np.bool_],
    model: Callable[[int], Model],
    *,
    shares: tuple[float, ...] = SHARES,
    seed: int = 0,
) -> Explanations:
    """Measure the evidence of images against their networks.

    Args:
        groups: Patient of each of N images.
        rois: UINT8 [N, ROI_SIDE_PX, ROI_SIDE_PX].
        evidence: FP32 [N, EVIDENCE_SIDE, EVIDENCE_SIDE], as served with them.
        nodules: bool [N, ROI_SIDE_PX, ROI_SIDE_PX], true outlines, cut as the regions were.
        model: From an image's index to the network that is to judge it.
        shares: Of the region.
        seed: Of the random orders.

    Returns:
        The curves and masses; 4 x K regions for each image go through its network.
    """
    generator = np.random.default_rng(seed)
    curves, masses = [], []
    for index, (roi, cells, nodule) in enumerate(zip(rois, evidence, nodules, strict=True)):
        regions = np.concatenate(
            [
                *perturbed_regions(roi, cells, shares),
                *perturbed_regions(roi, shuffled_evidence(cells, generator), shares),
            ]
        )
        curves.append(model(index)(regions).reshape(4, len(shares)))
        masses.append(mass_inside(cells, nodule))
    deletion, insertion, random_deletion, random_insertion = np.stack(curves, axis=1)
    inside, area = np.array(masses).T
    return Explanations(
        groups, shares, deletion, insertion, random_deletion, random_insertion, inside, area
    )


def area_under(curves: Malignancies, shares: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Area under each curve by the trapezoidal rule: FP64 [N] of FP64 [N, K]."""
    return np.asarray((curves[:, 1:] + curves[:, :-1]) @ np.diff(shares) / 2)


def explanation_intervals(explanations: Explanations) -> dict[str, Interval]:
    """Mean areas and masses, with intervals over patients.

    Args:
        explanations: Of the images.

    Returns:
        `deletion_area` and `insertion_area`, each with `random_..` and `.._gain` (random less
        deletion, insertion less random: above 0 the map knows more than chance); `mass_inside`,
        `area_inside` and `mass_gain`, their difference.
    """
    areas = {
        name: area_under(curve, explanations.shares) for name, curve in explanations.curves.items()
    }
    values = {
        **{f"{name}_area": area for name, area in areas.items()},
        "deletion_gain": areas["random_deletion"] - areas["deletion"],
        "insertion_gain": areas["insertion"] - areas["random_insertion"],
        "mass_inside": explanations.mass_inside,
        "area_inside": explanations.area_inside,
        "mass_gain": explanations.mass_inside - explanations.area_inside,
    }

    def figures(weights: Weights) -> dict[str, npt.NDArray[np.float64]]:
        return {name: weighted_mean(value, weights) for name, value in values.items()}

    return group_intervals(explanations.groups, figures)


def mean_curve(
    groups: tuple[str, ...], curves: Malignancies
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean of curves, FP64 [K], and its 95% bounds over patients, FP64 [2, K]."""
    drawn = resample_weights(groups)
    means = drawn @ curves / drawn.sum(axis=1, keepdims=True)
    return curves.mean(axis=0), np.array([percentile_bounds(column) for column in means.T]).T
