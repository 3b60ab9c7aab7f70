"""The Random Forest on a nodule's figures: a second opinion that a table could explain.

It sees no pixel, only figures of `contract.MORPHOLOGY_FIELDS`, and is served beside ResNet-18.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.pipeline import Pipeline, make_pipeline

from thyroid_pipeline import contract
from thyroid_training.classification_scores import require_both_grades

# The paper's baseline: shape alone, and of it what no zoom changes. Areas and lengths are in pixels
# of an export of unknown scale, so they tell how far the sonographer zoomed in, and are left out.
# `extent` and `eccentricity` are kept beside `height_to_width` and `solidity`, although they
# overlap: they tell a tilted nodule from an upright one, and a forest bears redundant figures.
SHAPE_FIELDS = (
    "height_to_width",
    "circularity",
    "convexity",
    "solidity",
    "extent",
    "eccentricity",
    "margin_irregularity",
)

# The four echo figures are ratios of grey values within one image, so an overall gain leaves them
# as they are.
SHAPE_AND_ECHO_FIELDS = (
    *SHAPE_FIELDS,
    "echo_ratio",
    "echo_variation",
    "posterior_ratio",
    "margin_contrast",
)


@dataclass(frozen=True)
class ForestConfig:
    """How a forest is fitted.

    Attributes:
        fields: Names of the figures that it sees, of `contract.MORPHOLOGY_FIELDS`.
        trees: Number of trees.
        min_samples_leaf: Fewest training rows in a leaf: a few hundred rows would otherwise be
            learnt by heart, one leaf each.
        max_features: Share of the fields that is tried at each split, above 0 and at most 1.
        balanced: Whether both grades weigh alike, so that one half is a fair limit although five
            in six nodules of the set are malignant.
        seed: Of the rows and the fields that each tree draws.
    """

    fields: tuple[str, ...] = SHAPE_AND_ECHO_FIELDS
    trees: int = 300
    min_samples_leaf: int = 5
    max_features: float = 0.3
    balanced: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.fields) - set(contract.MORPHOLOGY_FIELDS))
        if unknown or not self.fields or len(set(self.fields)) != len(self.fields):
            raise ValueError(
                f"`fields` are {', '.join(self.fields) or 'none'}; at least one, each once, of "
                f"{', '.join(contract.MORPHOLOGY_FIELDS)} was wanted: correct the names"
            )

    @property
    def columns(self) -> list[int]:
        """Where the fields stand in the `morphology` tensor."""
        return [contract.MORPHOLOGY_FIELDS.index(name) for name in self.fields]


@dataclass(frozen=True)
class Forest:
    """A fitted forest.

    Attributes:
        config: How it was fitted.
        pipeline: scikit-learn's: a median for each figure that could not be measured, then the
            trees. Its input is FP32 [N, len(config.fields)], its second class malignant.
    """

    config: ForestConfig
    pipeline: Pipeline


@dataclass(frozen=True)
class Importance:
    """How much one figure counts.

    Attributes:
        field: Its name.
        permutation: By how much AUROC falls, on average, when the figure's values are shuffled
            among the rows (Breiman, Machine Learning 45, 2001): 0 for a figure that says nothing,
            and for one that another replaces; below 0 by chance.
        permutation_deviation: Standard deviation over the shuffles.
        impurity: Share of the decrease of the Gini impurity, over all splits of the fit; these add
            up to 1. Biased towards what was learnt by heart, so read the permutation first.
    """

    field: str
    permutation: float
    permutation_deviation: float
    impurity: float


def fit_forest(
    morphology: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], config: ForestConfig
) -> Forest:
    """Fit a forest; the same rows and the same seed give the same trees.

    A figure that could not be measured (NaN) counts as the median of the training rows.

    Args:
        morphology: FP32 [N, len(contract.MORPHOLOGY_FIELDS)], of nodules that were found.
        labels: INT64 [N], 1 malignant, 0 benign.
        config: How.

    Returns:
        The forest.

    Raises:
        ValueError: The shapes do not belong together, a row holds no figure at all, or one of the
            grades is missing.
    """
    figures = _select(morphology, config)
    if labels.shape != (len(figures),):
        raise ValueError(
            f"labels of shape {list(labels.shape)} came with {len(figures)} rows of figures; one "
            "label for each row was wanted: pass both of the same nodules"
        )
    without = int(np.isnan(figures).all(axis=1).sum())
    if without:
        raise ValueError(
            f"{without} of {len(figures)} rows hold no figure at all; rows of nodules that were "
            "found were wanted: leave out the images in which none was"
        )
    require_both_grades(labels.tolist(), "what is fitted on")
    pipeline = make_pipeline(
        # A figure that no training row has would otherwise be dropped, and columns with it.
        SimpleImputer(strategy="median", keep_empty_features=True),
        RandomForestClassifier(
            config.trees,
            min_samples_leaf=config.min_samples_leaf,
            max_features=config.max_features,
            class_weight="balanced" if config.balanced else None,
            random_state=config.seed,
        ),
    )
    return Forest(config, pipeline.fit(figures, labels))


def forest_malignancy(
    forest: Forest, morphology: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Ask a forest.

    Args:
        forest: Fitted.
        morphology: FP32 [N, len(contract.MORPHOLOGY_FIELDS)].

    Returns:
        FP64 [N], 0 to 1: the mean over the trees of the share of malignant rows, weighted as they
        were fitted, in the leaf. NaN for a row without any figure that the forest sees, as the
        cropper gives it where no nodule was found.

    Raises:
        ValueError: The rows are not of so many figures.
    """
    figures = _select(morphology, forest.config)
    answers = np.full(len(figures), np.nan)
    known = ~np.isnan(figures).all(axis=1)
    if known.any():
        answers[known] = forest.pipeline.predict_proba(figures[known])[:, 1]
    return answers


def field_importances(
    forest: Forest,
    morphology: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    repeats: int = 10,
) -> list[Importance]:
    """Say how much each figure counts, on rows that the forest was not fitted on.

    Args:
        forest: Fitted.
        morphology: FP32 [N, len(contract.MORPHOLOGY_FIELDS)], held out, of nodules that were found.
        labels: INT64 [N], 1 malignant, 0 benign.
        repeats: How often each figure is shuffled.

    Returns:
        One entry for each field, the one whose permutation costs most first.

    Raises:
        ValueError: The rows are not of so many figures, or one of the grades is missing.
    """
    require_both_grades(labels.tolist(), "what importances are measured on")
    costs: Any = permutation_importance(
        forest.pipeline,
        _select(morphology, forest.config),
        labels,
        scoring="roc_auc",
        n_repeats=repeats,
        random_state=forest.config.seed,
    )
    impurities = forest.pipeline[-1].feature_importances_
    entries = [
        Importance(name, float(mean), float(deviation), float(impurity))
        for name, mean, deviation, impurity in zip(
            forest.config.fields,
            costs.importances_mean,
            costs.importances_std,
            impurities,
            strict=True,
        )
    ]
    return sorted(entries, key=lambda entry: -entry.permutation)


def _select(morphology: npt.NDArray[np.float32], config: ForestConfig) -> npt.NDArray[np.float32]:
    """The fields' columns in FP32: the trees' limits are made for figures as they are served."""
    if morphology.ndim != 2 or morphology.shape[1] != len(contract.MORPHOLOGY_FIELDS):
        raise ValueError(
            f"figures of shape {list(morphology.shape)} came; [N, "
            f"{len(contract.MORPHOLOGY_FIELDS)}] was wanted, one column for each of "
            "contract.MORPHOLOGY_FIELDS: pass the cropper's `morphology`"
        )
    return np.ascontiguousarray(morphology[:, config.columns], np.float32)
