"""What the decisions mean to whoever reads a report, in the order in which they are to be read."""

from __future__ import annotations

from dataclasses import dataclass

from thyroid_pipeline.contract import Decision


@dataclass(frozen=True)
class Reading:
    """How to show one decision.

    Attributes:
        decision: Which.
        title: Its name to a reader.
        follows: What follows from it, in a few words; empty where nothing does.
        text: What it says and what it does not.
    """

    decision: Decision
    title: str
    follows: str
    text: str


# What is to be followed up comes first. An image without a number comes before those with a low
# one: somebody has to look at it.
READINGS = (
    Reading(
        Decision.REFER,
        "Refer",
        "to be followed up",
        "The probability is above the operating point, which was chosen for screening: so that few "
        "malignant nodules lie below it. Not every nodule above it is malignant.",
    ),
    Reading(
        Decision.UNCERTAIN,
        "Uncertain",
        "to be followed up, too",
        "The probability is so near the operating point that it may as well lie on its other side.",
    ),
    Reading(
        Decision.OUT_OF_DISTRIBUTION,
        "Out of distribution",
        "not judged: look at the image",
        "The image does not look like those that the networks were fitted on, so no probability is "
        "given. What was outlined in it may be no nodule, and one may have been missed.",
    ),
    Reading(
        Decision.ROUTINE,
        "Routine",
        "",
        "The probability is below the operating point. A malignant nodule may be, too.",
    ),
    Reading(
        Decision.NO_NODULE,
        "No nodule",
        "",
        "None was found in this image. One may still be there.",
    ),
)
