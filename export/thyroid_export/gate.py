"""What a network in another precision is held to: how far its answers may be from FP32's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from thyroid_pipeline import contract


@dataclass(frozen=True)
class Gate:
    """The limits of one kind of precision.

    Attributes:
        dice_from: Smallest mean Dice of the masks in the images' own pixels, over images with a
            nodule in either.
        malignancy_within: Largest difference of any image.
        score_within: Likewise, of `ood_score`, whose limit is 1: a verdict turns only for frames
            so near to the limit.
    """

    dice_from: float
    malignancy_within: float
    score_within: float

    def limits(self) -> Mapping[str, float]:
        """The largest difference of each output that is compared; infinite where it binds nobody.

        Decisions are reported alone: near a threshold, any difference turns one.
        """
        return {
            contract.MALIGNANCY.name: self.malignancy_within,
            contract.OOD_SCORE.name: self.score_within,
            contract.EVIDENCE.name: math.inf,
            contract.DECISION.name: math.inf,
        }


HALF_GATE = Gate(dice_from=0.995, malignancy_within=0.01, score_within=0.05)
# Three to four times as loose.
INT8_GATE = Gate(dice_from=0.98, malignancy_within=0.03, score_within=0.15)
