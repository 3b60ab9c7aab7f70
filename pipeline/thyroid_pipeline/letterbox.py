"""Letterboxing with an exact way back: the geometry is whole pixels only.

The frame shows the sector's box scaled, with its aspect kept, into a centred content rectangle.
Pixel areas map onto pixel areas: the box's left edge is the content's left edge, its right edge the
content's right edge, as `cv2.resize` has it.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.sector import Sector

# Frame pixels per pixel of the map, along each side.
_STEP_PX = contract.FRAME_SIDE_PX // contract.MAP_SIDE_PX


@dataclass(frozen=True)
class Geometry:
    """Where a frame lies in the image it was made of; all in pixels.

    `image_*` is the size of the upright image, `sector_*` the box of the sector within it, and
    `content_*` the rectangle of the frame that shows the box.
    """

    image_height_px: int
    image_width_px: int
    sector_x_px: int
    sector_y_px: int
    sector_width_px: int
    sector_height_px: int
    content_x_px: int
    content_y_px: int
    content_width_px: int
    content_height_px: int

    def to_array(self) -> npt.NDArray[np.int32]:
        """The `geometry` tensor: INT32 [len(contract.GEOMETRY_FIELDS)]."""
        return np.array(astuple(self), np.int32)

    @classmethod
    def from_array(cls, values: npt.NDArray[np.int32]) -> Geometry:
        """Read the `geometry` tensor back.

        Args:
            values: INT32 [len(contract.GEOMETRY_FIELDS)].

        Raises:
            ImageError: The values describe no frame: too many or too few, a side below 1, a
                rectangle that leaves what holds it, content off the network's pixels, or an image
                of a size that the decoder refuses.
        """
        if np.shape(values) != contract.GEOMETRY.shape:
            raise ImageError(
                f"a geometry of shape {np.shape(values)} came, {contract.GEOMETRY.shape} was "
                "wanted: pass on what frame_decoder gave"
            )
        geometry = cls(*(int(value) for value in values))
        side = contract.FRAME_SIDE_PX
        content = astuple(geometry)[-4:]
        fits = (
            _lies_within(geometry.sector_x_px, geometry.sector_width_px, geometry.image_width_px)
            and _lies_within(
                geometry.sector_y_px, geometry.sector_height_px, geometry.image_height_px
            )
            and _lies_within(geometry.content_x_px, geometry.content_width_px, side)
            and _lies_within(geometry.content_y_px, geometry.content_height_px, side)
            and all(length % _STEP_PX == 0 for length in content)
            and _is_screened_size(geometry.image_height_px, geometry.image_width_px)
        )
        if not fits:
            raise ImageError(
                f"{geometry} is no geometry of a {side} x {side} frame: the sector must lie within "
                f"the image and the content, in steps of {_STEP_PX}, within the frame; pass on "
                "what frame_decoder gave"
            )
        return geometry

    @property
    def scale_x(self) -> float:
        """Frame pixels per image pixel, across."""
        return self.content_width_px / self.sector_width_px

    @property
    def scale_y(self) -> float:
        """Frame pixels per image pixel, down."""
        return self.content_height_px / self.sector_height_px

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """Map a point of the frame (pixel edges at whole numbers) to the image."""
        return (
            self.sector_x_px + (x - self.content_x_px) / self.scale_x,
            self.sector_y_px + (y - self.content_y_px) / self.scale_y,
        )

    def to_frame(self, x: float, y: float) -> tuple[float, float]:
        """Map a point of the image (pixel edges at whole numbers) to the frame."""
        return (
            self.content_x_px + (x - self.sector_x_px) * self.scale_x,
            self.content_y_px + (y - self.sector_y_px) * self.scale_y,
        )


if tuple(field.name for field in fields(Geometry)) != contract.GEOMETRY_FIELDS:
    raise RuntimeError("Geometry and contract.GEOMETRY_FIELDS must name the same fields in order")


def _lies_within(start: int, length: int, whole: int) -> bool:
    return start >= 0 and length >= 1 and start + length <= whole


def _is_screened_size(height_px: int, width_px: int) -> bool:
    """Whether an image of this size passes the decoder: what breaks its limits costs too much."""
    shorter, longer = sorted((height_px, width_px))
    return (
        shorter >= contract.MIN_IMAGE_SIDE_PX
        and longer <= contract.MAX_IMAGE_ASPECT * shorter
        and height_px * width_px <= contract.MAX_IMAGE_PIXELS
    )


def plan_letterbox(image_height_px: int, image_width_px: int, sector: Sector) -> Geometry:
    """Choose the content rectangle: as large as fits, aspect kept, centred.

    The content begins and ends on whole pixels of the network's input, so that no pixel of it mixes
    tissue with the frame's black.

    Args:
        image_height_px: Height of the upright image.
        image_width_px: Its width.
        sector: The sector found in it.

    Returns:
        The geometry. Its two scales differ by rounding only.
    """
    side, step = contract.FRAME_SIDE_PX, _STEP_PX
    scale = side / max(sector.width_px, sector.height_px)
    width = max(step, step * round(sector.width_px * scale / step))
    height = max(step, step * round(sector.height_px * scale / step))
    return Geometry(
        image_height_px,
        image_width_px,
        sector.x_px,
        sector.y_px,
        sector.width_px,
        sector.height_px,
        step * ((side - width) // (2 * step)),
        step * ((side - height) // (2 * step)),
        width,
        height,
    )


def letterbox(cut: npt.NDArray[np.uint8], geometry: Geometry) -> npt.NDArray[np.uint8]:
    """Scale the cut sector into the frame.

    Args:
        cut: UINT8 [sector_height_px, sector_width_px].
        geometry: Of `plan_letterbox`.

    Returns:
        UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX], 0 around the content.
    """
    size = (geometry.content_width_px, geometry.content_height_px)
    # Area averaging where the sector shrinks keeps fine speckle from aliasing.
    shrinks = geometry.scale_x < 1
    content = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    frame = np.zeros((contract.FRAME_SIDE_PX, contract.FRAME_SIDE_PX), np.uint8)
    rows = slice(geometry.content_y_px, geometry.content_y_px + geometry.content_height_px)
    columns = slice(geometry.content_x_px, geometry.content_x_px + geometry.content_width_px)
    frame[rows, columns] = content
    return frame


def unletterbox(probability: npt.NDArray[np.uint8], geometry: Geometry) -> npt.NDArray[np.uint8]:
    """Scale a map over the frame back onto the sector's box.

    Args:
        probability: UINT8 [MAP_SIDE_PX, MAP_SIDE_PX], over the whole frame.
        geometry: Of the frame.

    Returns:
        UINT8 [sector_height_px, sector_width_px], bilinear.
    """
    top, left = geometry.content_y_px // _STEP_PX, geometry.content_x_px // _STEP_PX
    content = probability[
        top : top + geometry.content_height_px // _STEP_PX,
        left : left + geometry.content_width_px // _STEP_PX,
    ]
    size = (geometry.sector_width_px, geometry.sector_height_px)
    return np.asarray(cv2.resize(content, size, interpolation=cv2.INTER_LINEAR), np.uint8)
