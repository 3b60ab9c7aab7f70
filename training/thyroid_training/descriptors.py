"""What radiologists said of a nodule besides its grade: further targets for the classifier.

The grade follows from these signs (TI-RADS; Kwak et al., Radiology 260, 2011), so a network that is
asked for the signs as well learns from one picture several times. They are targets only: nothing
asks for them when an image is screened. The set leaves many of them out, and spells some in several
ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# For each column of DDTI's manifest: its spellings, and the class that each means. Classes with a
# handful of nodules are joined to their neighbour, as no network learns from two pictures.
_CLASSES: Mapping[str, Mapping[str, int]] = {
    "tirads": {"2": 0, "3": 0, "4a": 1, "4b": 2, "4c": 3, "5": 4},
    "composition": {
        "solid": 0,
        "dense": 0,
        "predominantly solid": 1,
        "predominantly cystic": 1,
        "cystic": 1,
        "spongiform": 2,
    },
    "echogenicity": {
        "hyperechogenicity": 0,
        "isoechogenicity": 1,
        "hypoechogenicity": 2,
        "marked hypoechogenicity": 2,
    },
    "margins": {
        "well defined smooth": 0,
        "well defined": 1,
        "ill defined": 2,
        "ill- defined": 2,
        "microlobulated": 3,
        "macrolobulated": 3,
        "spiculated": 3,
    },
    "calcifications": {
        "non": 0,
        "macrocalcification": 1,
        "macrocalcifications": 1,
        "microcalcification": 2,
        "microcalcifications": 2,
    },
}

CLASS_COUNTS: Mapping[str, int] = MappingProxyType(
    {column: 1 + max(classes.values()) for column, classes in _CLASSES.items()}
)
"""Number of classes of each descriptor, by its column's name."""


def read_descriptors(row: Mapping[str, str]) -> dict[str, int]:
    """Read the descriptors of a nodule.

    Args:
        row: Of DDTI's manifest, by column; a column that is missing or empty says nothing.

    Returns:
        The class of each descriptor that was given.

    Raises:
        ValueError: A descriptor has a value that is not known.
    """
    read = {}
    for column, classes in _CLASSES.items():
        value = row.get(column, "")
        if not value:
            continue
        if value not in classes:
            raise ValueError(
                f"`{column}` is {value!r} in the manifest; one of {', '.join(map(repr, classes))} "
                "was wanted: spell it so, or leave it empty"
            )
        read[column] = classes[value]
    return read
