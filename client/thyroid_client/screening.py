"""What a screening is: the values that the client returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from thyroid_client.errors import ThyroidClientError
from thyroid_pipeline import contract
from thyroid_pipeline.contract import Decision


@dataclass(frozen=True)
class Box:
    """The upright rectangle around a nodule, in pixels of the upright image.

    Attributes:
        x_px: Its left column.
        y_px: Its uppermost row.
        width_px: How many columns it spans.
        height_px: How many rows it spans.
    """

    x_px: int
    y_px: int
    width_px: int
    height_px: int

    def as_tuple(self) -> tuple[int, int, int, int]:
        """Return x, y, width, height."""
        return self.x_px, self.y_px, self.width_px, self.height_px


@dataclass(frozen=True, slots=True, repr=False)
class Morphology(Mapping[str, float]):
    """The figures of the largest nodule, by the names in `contract.MORPHOLOGY_FIELDS`.

    A figure is read as `morphology.area_px2` or `morphology["area_px2"]`; the unit is in the name,
    the formula in `thyroid_pipeline.morphology`. A figure that cannot be measured on this nodule is
    NaN.

    Attributes:
        figures: In the contract's order.
    """

    figures: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.figures) != len(contract.MORPHOLOGY_FIELDS):
            raise ValueError(
                f"{len(self.figures)} figures came, the contract has "
                f"{len(contract.MORPHOLOGY_FIELDS)}: give one for each of "
                f"{', '.join(contract.MORPHOLOGY_FIELDS)}"
            )

    def __getitem__(self, name: str) -> float:
        try:
            return self.figures[contract.MORPHOLOGY_FIELDS.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __getattr__(self, name: str) -> float:
        # Only called for what is no real attribute; `figures` itself may be missing while an
        # instance is being unpickled, so the name is looked up before the value.
        if name in contract.MORPHOLOGY_FIELDS:
            return self[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter(contract.MORPHOLOGY_FIELDS)

    def __len__(self) -> int:
        return len(contract.MORPHOLOGY_FIELDS)

    def __dir__(self) -> list[str]:
        return [*contract.MORPHOLOGY_FIELDS, "figures", "get", "items", "keys", "values"]

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.items())
        return f"{type(self).__name__}({figures})"


@dataclass(frozen=True)
class Timings:
    """Where the time of one screening went.

    Attributes:
        prepare_ms: Reading the file, or encoding the array.
        round_trip_ms: From the first sending to the answer, retries and their waits included.
        read_ms: Checking and decoding the answer.
        attempts: How often the request was sent.
    """

    prepare_ms: float
    round_trip_ms: float
    read_ms: float
    attempts: int


# Compared by identity: arrays have no single truth value to compare by.
@dataclass(frozen=True, eq=False)
class Screening:
    """What the screening found in one image.

    Where the image is out of the networks' distribution, whatever was found in it is kept, and
    nothing is said of how malignant it is: whether there is a number, `malignancy is not None`
    tells, and `nodule_found` does not.

    Attributes:
        decision: What the server's operating point makes of the image. `Decision.UNCERTAIN` is to
            be followed up as `Decision.REFER` is.
        nodule_found: Whether there is a nodule.
        malignancy: Calibrated probability from 0 to 1 that the largest nodule is malignant; None
            without one, and where the image is out of distribution.
        forest_malignancy: A Random Forest's second opinion from `morphology` alone, from 0 to 1;
            None where `malignancy` is.
        ood_score: How unlike the image is to those that the networks were fitted on, from 0; above
            `contract.OOD_LIMIT` it is out of their distribution.
        mask: bool [height, width] of the upright image: every nodule found. Read-only.
        box: Around the largest nodule; None without one.
        morphology: The largest nodule's figures; None without one.
        evidence: FP32 [EVIDENCE_SIDE, EVIDENCE_SIDE] over the square of
            `thyroid_pipeline.roi_square` in logits, above 0 for malignant; None where `malignancy`
            is. Read-only.
        model_versions: The version that answered, by model. Where the server does not tell its
            models' versions, only the ensemble's.
        timings: Where the time went.
    """

    decision: Decision
    nodule_found: bool
    malignancy: float | None
    forest_malignancy: float | None
    ood_score: float
    mask: npt.NDArray[np.bool_] = field(repr=False)
    box: Box | None
    morphology: Morphology | None
    evidence: npt.NDArray[np.float32] | None = field(repr=False)
    model_versions: Mapping[str, str]
    timings: Timings

    @property
    def out_of_distribution(self) -> bool:
        """Whether the image is too unlike those that the networks were fitted on to be judged."""
        return self.decision is Decision.OUT_OF_DISTRIBUTION


@dataclass(frozen=True, eq=False)
class ScreenResult:
    """What became of one image of many: a screening or an error.

    Attributes:
        index: Which image it was, counted from 0 in the order in which they were given.
        source: The image as it was given.
        screening: What was found; None where it failed.
        error: Why it failed; None where it did not.
    """

    index: int
    source: object = field(repr=False)
    screening: Screening | None
    error: ThyroidClientError | None

    def unwrap(self) -> Screening:
        """Return the screening, or raise the error."""
        if self.screening is not None:
            return self.screening
        assert self.error is not None, "a result holds a screening or an error"
        raise self.error
