"""Synthetic thyroid ultrasound frames with a nodule of known outline and traits.

A frame is made as a scanner makes it: anatomy gives echo strength and attenuation, scatterers of
random phase are seen through a point spread (speckle), gain and attenuation act along the beam,
the envelope is log-compressed to a display, and the result is placed in the picture of a console.
One seed and one set of arguments always give the same bytes; no global random state is touched.
Layout, tissue, nodule and console draw from streams of their own: of two frames from one seed that
differ in one trait of the nodule, the anatomy, the gain and the scatterers are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from thyroid_training.phantom_console import Box, draw_console, draw_text, place_sector
from thyroid_training.phantom_gain import received
from thyroid_training.phantom_nodule import add_nodule, outline, signed_distance, without_crumbs
from thyroid_training.phantom_speckle import (
    FLOAT32,
    PointSpread,
    log_compress,
    speckle_envelope,
    video_filter,
)
from thyroid_training.phantom_tissue import Site, anatomy
from thyroid_training.phantom_traits import (
    CALCIFICATIONS,
    ECHOGENICITIES,
    MARGINS,
    Calcifications,
    Echogenicity,
    Margin,
    PhantomTraits,
    sample_traits,
)

__all__ = [
    "CALCIFICATIONS",
    "ECHOGENICITIES",
    "MARGINS",
    "SIDE_RANGE_PX",
    "Calcifications",
    "Echogenicity",
    "Margin",
    "Phantom",
    "PhantomTraits",
    "make_phantom",
    "sample_traits",
]

# Rows on which the tissue is drawn, whatever the size of the picture: its scan lines are then
# resampled to the sector, as a scan converter does. Point spread and anatomy are tuned to it.
_WORKING_ROWS = 300
SIDE_RANGE_PX = (160, 4096)


@dataclass(frozen=True)
class Phantom:
    """One synthetic frame.

    Attributes:
        image: UINT8 [height, width], grey.
        mask: bool [height, width], True inside the nodule; all False without one.
        traits: What the frame shows.
        seed: The seed it was made from.
        sector_box: x, y, width and height of the tissue in pixels.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    traits: PhantomTraits
    seed: int
    sector_box: Box


def _place(
    rng: np.random.Generator, height: int, width: int, area_share: float, traits: PhantomTraits
) -> Site:
    """Chooses centre and extents of a nodule that covers about `area_share` of a view."""
    ratio = rng.uniform(1.18, 1.5) if traits.taller_than_wide else rng.uniform(0.46, 0.86)
    area = area_share * height * width
    half_width = np.sqrt(area / (0.95 * np.pi * ratio))
    half_height = ratio * half_width
    # Shrink alike in both directions until there is room for skin, muscle and what lies below.
    shrink = min(1.0, 0.44 * width / half_width, 0.36 * height / half_height)
    half_width, half_height = half_width * shrink, half_height * shrink
    column = width * rng.normal(0.5, 0.14)
    row = height * rng.normal(0.40, 0.08)
    column = np.clip(column, half_width + 0.03 * width, width * 0.97 - half_width)
    row = np.clip(row, half_height + 0.11 * height, height * 0.95 - half_height)
    return Site(float(column), float(row), float(half_width), float(half_height))


def _view(
    rng: np.random.Generator,
    height: int,
    width: int,
    traits: PhantomTraits,
    area_share: float,
    *,
    transverse: bool,
) -> tuple[FLOAT32, FLOAT32]:
    """One view: FLOAT32 [height, width] twice, envelope re thyroid and signed distance in px."""
    # The nodule has a stream of its own: one trait changed leaves all but the nodule as it was.
    nodule_rng = np.random.default_rng(rng.integers(2**63, size=2))
    site = _place(nodule_rng, height, width, area_share, traits) if traits.nodule else None
    maps = anatomy(rng, height, width, site, transverse=transverse)
    distance = np.full((height, width), -1e3, np.float32)
    if site is not None:
        points = outline(nodule_rng, traits.margin, site.half_width_px, site.half_height_px)
        centre = np.array([site.column_px, site.row_px])
        distance = signed_distance(points + centre, height, width)
        add_nodule(nodule_rng, maps, distance, site, traits)
    diffuse, coherent = received(rng, maps)
    noise_db = rng.uniform(-27.0, -20.0)
    spread = PointSpread(
        axial_px=rng.uniform(0.6, 0.85),
        lateral_near_px=rng.uniform(1.5, 2.2),
        lateral_far_px=rng.uniform(2.4, 4.2),
    )
    envelope = speckle_envelope(rng, diffuse, spread, coherent)
    return video_filter(rng, envelope, 10 ** (noise_db / 20)), distance


def make_phantom(
    seed: int,
    traits: PhantomTraits | None = None,
    *,
    height_px: int = 360,
    width_px: int = 560,
    console: bool = True,
    text: str | None = None,
) -> Phantom:
    """Makes a frame.

    Args:
        seed: At least 0; with the other arguments it fixes every byte (under the same versions of
            numpy and OpenCV: their rounding may differ in the last grey level).
        traits: What to show, or None to draw traits from the seed.
        height_px: Height of the picture, 160 to 4096.
        width_px: Width of the picture, 160 to 4096.
        console: Whether to draw grey scale, ticks, settings and labels around the tissue. The
            tissue stays where it is, pixel for pixel.
        text: A line to write below the tissue, or None. It never touches the tissue.

    Returns:
        The frame.

    Raises:
        ValueError: The seed is negative or a side out of range.
    """
    for name, side in (("height_px", height_px), ("width_px", width_px)):
        if not SIDE_RANGE_PX[0] <= side <= SIDE_RANGE_PX[1]:
            raise ValueError(
                f"`{name}` is {side}, wanted {SIDE_RANGE_PX[0]} to {SIDE_RANGE_PX[1]} px: make "
                "the phantom within that range and resize it"
            )
    if seed < 0:
        raise ValueError(f"`seed` is {seed}, wanted 0 or more: pass its absolute value")
    # Streams of their own: what is drawn for one never moves the others.
    streams = np.random.SeedSequence(seed).spawn(4)
    traits_rng, layout_rng, tissue_rng, console_rng = map(np.random.default_rng, streams)
    if traits is None:
        traits = sample_traits(traits_rng)
    sector = place_sector(layout_rng, height_px, width_px, two_views=traits.two_views)
    left, top, sector_width, sector_height = sector

    rows = _WORKING_ROWS
    columns = round(rows * sector_width / sector_height)
    share = float(np.clip(0.10 * np.exp(tissue_rng.normal(0, 0.75)), 0.018, 0.36))
    transverse = bool(tissue_rng.random() < 0.6)
    widths = [columns // 2, columns - columns // 2] if traits.two_views else [columns]
    views = []
    for number, width in enumerate(widths):
        # A second view shows the same nodule along the neck if the first showed it across.
        across = transverse if number == 0 else not transverse
        views.append(_view(tissue_rng, rows, width, traits, share, transverse=across))
    envelope = np.hstack([view[0] for view in views])
    distance = np.hstack([view[1] for view in views])

    grey = log_compress(
        envelope,
        dynamic_range_db=tissue_rng.uniform(58.0, 68.0),
        floor_db=tissue_rng.normal(-37.0, 2.5),
        gamma=tissue_rng.uniform(1.45, 1.95),
    )
    size = (sector_width, sector_height)
    shrinking = sector_height < rows
    tissue = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    inside = without_crumbs(cv2.resize(distance, size, interpolation=cv2.INTER_LINEAR) > 0.0)

    image = np.zeros((height_px, width_px), np.uint8)
    if console:
        draw_console(console_rng, image, sector)
    if text is not None:
        draw_text(image, sector, text)
    window = np.s_[top : top + sector_height, left : left + sector_width]
    # Last, so that nothing can be written over the tissue.
    image[window] = np.clip(np.rint(tissue), 0, 255).astype(np.uint8)
    mask = np.zeros((height_px, width_px), np.bool_)
    mask[window] = inside
    return Phantom(image, mask, traits, seed, sector)
