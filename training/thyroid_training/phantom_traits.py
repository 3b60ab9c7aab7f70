"""The traits of a phantom's nodule: what a reader would report, known by construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Echogenicity = Literal["anechoic", "hypoechoic", "isoechoic", "hyperechoic"]
Margin = Literal["smooth", "lobulated", "spiculated", "ill_defined"]
Calcifications = Literal["none", "micro", "macro"]

ECHOGENICITIES: tuple[Echogenicity, ...] = get_args(Echogenicity)
MARGINS: tuple[Margin, ...] = get_args(Margin)
CALCIFICATIONS: tuple[Calcifications, ...] = get_args(Calcifications)

# Rough shares, near those of the grades and descriptions of published thyroid image sets:
# most nodules are solid, iso- to hypoechoic, well defined and wider than tall.
_ECHOGENICITY_SHARES = (0.05, 0.42, 0.40, 0.13)
_MARGIN_SHARES = (0.50, 0.20, 0.12, 0.18)
_CALCIFICATION_SHARES = (0.52, 0.33, 0.15)
_TALLER_SHARE = 0.17
_HALO_SHARE = 0.25
_CYSTIC_SHARE = 0.20
_TWO_VIEWS_SHARE = 0.34


@dataclass(frozen=True)
class PhantomTraits:
    """What the phantom shows.

    Attributes:
        nodule: Whether there is a nodule. Without one, every other trait but `two_views` says
            nothing about the picture.
        echogenicity: Brightness of the nodule against the thyroid tissue around it.
        margin: Course of the outline. An `ill_defined` outline also fades into its surroundings.
        taller_than_wide: Whether each outline is higher than wide (by at least a tenth), else
            wider than high.
        calcifications: `micro`: bright points without shadow; `macro`: coarse, with a shadow.
        halo: Whether a thin dark rim surrounds the nodule.
        cystic_share: About how much of a solid nodule is fluid, 0 to 0.6.
        two_views: Whether the same nodule is shown in two views side by side.
    """

    nodule: bool
    echogenicity: Echogenicity
    margin: Margin
    taller_than_wide: bool
    calcifications: Calcifications
    halo: bool = False
    cystic_share: float = 0.0
    two_views: bool = False

    def __post_init__(self) -> None:
        """Refuses traits that are not in the vocabulary.

        Raises:
            ValueError: A trait has a value outside its vocabulary or range.
        """
        for name, value, known in (
            ("echogenicity", self.echogenicity, ECHOGENICITIES),
            ("margin", self.margin, MARGINS),
            ("calcifications", self.calcifications, CALCIFICATIONS),
        ):
            if value not in known:
                raise ValueError(
                    f"`{name}` is {value!r}, wanted one of {', '.join(known)}: choose one of these"
                )
        if not 0.0 <= self.cystic_share <= 0.6:
            raise ValueError(
                f"`cystic_share` is {self.cystic_share}, wanted 0.0 to 0.6: for a nodule that is "
                "all fluid set `echogenicity` to 'anechoic'"
            )


def sample_traits(rng: np.random.Generator, nodule_share: float = 0.85) -> PhantomTraits:
    """Draws traits at about the shares seen in clinical sets.

    Args:
        rng: Source of randomness; it is advanced by the same amount whatever is drawn.
        nodule_share: Probability of a nodule, 0 to 1.

    Returns:
        The traits.

    Raises:
        ValueError: `nodule_share` is outside 0 to 1.
    """
    if not 0.0 <= nodule_share <= 1.0:
        raise ValueError(f"`nodule_share` is {nodule_share}, wanted 0 to 1: give a probability")
    nodule = bool(rng.random() < nodule_share)
    echogenicity = ECHOGENICITIES[int(rng.choice(4, p=_ECHOGENICITY_SHARES))]
    margin = MARGINS[int(rng.choice(4, p=_MARGIN_SHARES))]
    calcifications = CALCIFICATIONS[int(rng.choice(3, p=_CALCIFICATION_SHARES))]
    taller, halo, cystic, share, two_views = rng.random(5)
    solid = echogenicity != "anechoic"
    return PhantomTraits(
        nodule=nodule,
        echogenicity=echogenicity,
        # A cyst has a sharp wall and holds no calcified tissue to speak of.
        margin=margin if solid or margin in ("smooth", "lobulated") else "smooth",
        taller_than_wide=bool(taller < _TALLER_SHARE),
        calcifications=calcifications if solid else "none",
        halo=bool(solid and halo < _HALO_SHARE),
        cystic_share=float(0.1 + 0.4 * share) if solid and cystic < _CYSTIC_SHARE else 0.0,
        two_views=bool(two_views < _TWO_VIEWS_SHARE),
    )
