"""Confidence intervals by resampling patients, since images of one patient are alike.

Percentile intervals (B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter
13). Not BCa: its bias correction is infinite for a figure at its bound (an AUROC of 1, a share
of 0), and its acceleration rests on leaving out single patients, on which a specificity over five
dozen benign images moves in steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2_000
LEVEL = 0.95
SEED = 20_251_111

Weights = npt.NDArray[np.float64]
"""FP64 [resamples, N]: how often each sample is in each resample."""

FigureFunction = Callable[[Weights], Mapping[str, npt.NDArray[np.float64]]]
"""From weights [resamples, N] to figures [resamples] by name."""


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds of its confidence interval; NaN where it is not defined."""

    estimate: float
    low: float
    high: float


def resample_weights(
    groups: Sequence[str],
    classes: Sequence[int] | npt.NDArray[np.int64] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Weights:
    """Draw whole groups with replacement.

    With classes, groups are drawn within strata: the groups that hold the same set of classes. A
    resample then has as many groups of each kind as the data, so that no class is ever missing.
    The intervals are therefore for sets of this prevalence.

    Args:
        groups: Patient of each of N samples.
        classes: Class of each sample, or None for one stratum.
        resamples: How many.
        seed: The same arguments and seed give the same weights, so that the figures of two
            classifiers on the same samples are resampled in pairs.

    Returns:
        Whole numbers, FP64 [resamples, N].

    Raises:
        ValueError: There is no sample, or groups and classes differ in number.
    """
    count = len(groups)
    if count == 0 or (classes is not None and len(classes) != count):
        raise ValueError(
            f"{count} groups and {'no' if classes is None else len(classes)} classes came; one "
            "group, and with strata one class, for each of at least one sample was wanted"
        )
    names, member = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    held: list[set[int]] = [set() for _ in names]
    for index, group in enumerate(member):
        held[group].add(0 if classes is None else int(classes[index]))
    strata: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for group, kinds in enumerate(held):
        strata[tuple(sorted(kinds))].append(group)
    generator = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(names)))
    for stratum in sorted(strata):
        inside = strata[stratum]
        share = np.full(len(inside), 1 / len(inside))
        drawn[:, inside] = generator.multinomial(len(inside), share, size=resamples)
    return drawn[:, member]


def group_intervals(
    groups: Sequence[str],
    figures: FigureFunction,
    *,
    classes: Sequence[int] | npt.NDArray[np.int64] | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Give each figure a confidence interval over resampled groups.

    A figure over several seeds is averaged by `figures` within each resample: the interval is that
    of the mean over seeds, and seeds are not mistaken for patients.

    Args:
        groups: Patient of each of N samples.
        figures: Called with weights of one (the data as it is) and with those of the resamples. A
            figure may be NaN in a resample that cannot have it; it is left out there.
        classes: Class of each sample, for stratified resamples.
        resamples: How many.
        seed: Of the resamples.
        level: Of the interval.

    Returns:
        Each figure's estimate on the data as it is, with its percentile interval.
    """
    estimates = figures(np.ones((1, len(groups))))
    drawn = figures(resample_weights(groups, classes, resamples=resamples, seed=seed))
    return {
        name: Interval(float(value[0]), *percentile_bounds(drawn[name], level))
        for name, value in estimates.items()
    }


def percentile_bounds(values: npt.NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """Bounds between which the middle `level` of the defined values lies; NaN if none is."""
    defined = values[np.isfinite(values)]
    if defined.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_mean(values: npt.NDArray[np.float64], weights: Weights) -> npt.NDArray[np.float64]:
    """Mean over samples in each resample, of the samples that have a value.

    Args:
        values: FP64 [N]; NaN where there is none.
        weights: FP64 [resamples, N].

    Returns:
        FP64 [resamples]; NaN where no sample of a resample has a value.
    """
    defined = np.isfinite(values)
    total = weights @ defined
    summed = weights @ np.where(defined, values, 0.0)
    return np.divide(summed, total, out=np.full(len(weights), np.nan), where=total > 0)
