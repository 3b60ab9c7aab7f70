"""The contract: every model, tensor, type, shape, range and limit of the screening, once.

Whoever needs a tensor's name or a side's length takes it from here: the model repository's
`config.pbtxt` files are generated from it, the networks are exported to it, the client reads its
answers by it. Shapes leave out the batch axis, which every model has, as Triton's configs do.

The ensemble's name, its input and its outputs are public. The tensors between the steps are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

import numpy as np


class DataType(Enum):
    """A Triton data type. The value is its name on the wire; `TYPE_<value>` stands in configs."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    INT32 = "INT32"
    FP32 = "FP32"
    BYTES = "BYTES"

    @property
    def config_name(self) -> str:
        """The name in `config.pbtxt`, where BYTES is called TYPE_STRING."""
        return "TYPE_STRING" if self is DataType.BYTES else f"TYPE_{self.value}"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy type that carries it; BYTES travel in object arrays."""
        return np.dtype(_NUMPY[self])


_NUMPY = {
    DataType.BOOL: np.bool_,
    DataType.UINT8: np.uint8,
    DataType.INT32: np.int32,
    DataType.FP32: np.float32,
    DataType.BYTES: np.object_,
}


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model.

    Attributes:
        name: Its name in every config, request and graph.
        data_type: Its Triton type.
        shape: Its shape without the batch axis.
        meaning: What it holds, with range and unit.
    """

    name: str
    data_type: DataType
    shape: tuple[int, ...]
    meaning: str


@dataclass(frozen=True)
class Model:
    """One model of the repository: its name, its inputs and its outputs."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


# The profiles of the repository: how `config.pbtxt` and `configs/<profile>.pbtxt` are called.
DEFAULT_PROFILE = "default"
CPU_PROFILE = "cpu"
RTX_PROFILE = "rtx"

# Triton's usual ports, which server and client agree on where none is named.
HTTP_PORT = 8000
GRPC_PORT = 8001
METRICS_PORT = 8002

# The repository's files of a network; the version's folder holds one or both.
ONNX_FILE = "model.onnx"
PLAN_FILE = "model.plan"
MODEL_VERSION = "1"

# Sides of the square pictures that travel between the steps: the frame, the map of the nodule's
# probability over it, the region cut from it. The frame is a whole multiple of the map, so that the
# frame's content has whole pixels in both. At what side TransUNet itself works is its graph's own
# affair.
FRAME_SIDE_PX = 448
MAP_SIDE_PX = 224
ROI_SIDE_PX = 160
EVIDENCE_SIDE = ROI_SIDE_PX // 32  # of ResNet-18's last feature map

# One request, and one batch that Triton gathers, hold at most so many images.
MAX_BATCH_SIZE = 16

# What an image may be, checked on its header before a pixel of it is decoded.
MAX_IMAGE_BYTES = 32 * 1024 * 1024
MAX_IMAGE_PIXELS = 16_000_000
MIN_IMAGE_SIDE_PX = 64
MAX_IMAGE_ASPECT = 6.0
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")

# A probability of the nodule travels as UINT8: 255 is certainty.
PROBABILITY_SCALE = 255

# Above it a frame is out of the networks' distribution; `ood_score` is scaled to it.
OOD_LIMIT = 1.0


class Decision(IntEnum):
    """What the operating point makes of an image: the value of the `decision` tensor.

    Screening asks for few missed malignancies, so UNCERTAIN is to be followed up as REFER is.
    """

    NO_NODULE = 0
    ROUTINE = 1
    UNCERTAIN = 2
    REFER = 3
    OUT_OF_DISTRIBUTION = 4

    @property
    def label(self) -> str:
        """Its name in results and reports."""
        return self.name.lower()


# The fields of the `geometry` tensor, in order: all whole pixels, so that the way back is exact.
GEOMETRY_FIELDS = (
    "image_height_px",
    "image_width_px",
    "sector_x_px",
    "sector_y_px",
    "sector_width_px",
    "sector_height_px",
    "content_x_px",
    "content_y_px",
    "content_width_px",
    "content_height_px",
)

# The fields of the `morphology` tensor, in order; `thyroid_pipeline.morphology` defines each.
MORPHOLOGY_FIELDS = (
    "area_px2",
    "perimeter_px",
    "width_px",
    "height_px",
    "equivalent_diameter_px",
    "major_axis_px",
    "minor_axis_px",
    "height_to_width",
    "circularity",
    "convexity",
    "solidity",
    "extent",
    "eccentricity",
    "margin_irregularity",
    "echo_ratio",
    "echo_variation",
    "posterior_ratio",
    "margin_contrast",
)

IMAGE = Tensor(
    "image",
    DataType.BYTES,
    (1,),
    f"one encoded image: {', '.join(IMAGE_FORMATS)}; 8 or 16 bit; grey, RGB, RGBA or palette",
)
FRAME = Tensor(
    "frame",
    DataType.UINT8,
    (1, FRAME_SIDE_PX, FRAME_SIDE_PX),
    "the ultrasound sector, grey, letterboxed to a square; everything outside the sector is 0",
)
GEOMETRY = Tensor(
    "geometry",
    DataType.INT32,
    (len(GEOMETRY_FIELDS),),
    "where the frame lies in the image: " + ", ".join(GEOMETRY_FIELDS),
)
NODULE_PROBABILITY = Tensor(
    "nodule_probability",
    DataType.UINT8,
    (1, MAP_SIDE_PX, MAP_SIDE_PX),
    f"probability that a pixel belongs to a nodule, times {PROBABILITY_SCALE}",
)
ROI = Tensor(
    "roi",
    DataType.UINT8,
    (1, ROI_SIDE_PX, ROI_SIDE_PX),
    "square cut around the largest nodule, undistorted; 0 throughout where no nodule was found",
)
NODULE_FOUND = Tensor("nodule_found", DataType.BOOL, (1,), "whether a nodule was found")
BOX = Tensor(
    "box",
    DataType.INT32,
    (4,),
    "x, y, width, height of the largest nodule in pixels of the upright image; 0, 0, 0, 0 where "
    "none was found",
)
MASK = Tensor(
    "mask",
    DataType.BYTES,
    (1,),
    "1-bit PNG of the upright image's size: every nodule found, white on black",
)
MORPHOLOGY = Tensor(
    "morphology",
    DataType.FP32,
    (len(MORPHOLOGY_FIELDS),),
    "figures of the largest nodule, NaN where none was found: " + ", ".join(MORPHOLOGY_FIELDS),
)
OOD_SCORE = Tensor(
    "ood_score",
    DataType.FP32,
    (1,),
    "how unlike the frame is to those that the networks were fitted on, at least 0; above "
    f"{OOD_LIMIT:g} it is out of their distribution, and no malignancy is given",
)
MALIGNANCY = Tensor(
    "malignancy",
    DataType.FP32,
    (1,),
    "calibrated probability from 0 to 1; NaN where no nodule was found or the frame is out of "
    "distribution",
)
FOREST_MALIGNANCY = Tensor(
    "forest_malignancy",
    DataType.FP32,
    (1,),
    "a Random Forest's second opinion from `morphology` alone, 0 to 1; NaN where `malignancy` is",
)
DECISION = Tensor(
    "decision",
    DataType.INT32,
    (1,),
    "what the operating point says: "
    + ", ".join(f"{decision.value} {decision.label}" for decision in Decision),
)
EVIDENCE = Tensor(
    "evidence",
    DataType.FP32,
    (EVIDENCE_SIDE, EVIDENCE_SIDE),
    "class activation map over the region of interest in logits: above 0 speaks for malignant, "
    "below 0 for benign; 0 throughout where `malignancy` is NaN",
)

FRAME_DECODER = Model("frame_decoder", (IMAGE,), (FRAME, GEOMETRY))
TRANSUNET = Model("transunet", (FRAME,), (NODULE_PROBABILITY, OOD_SCORE))
ROI_CROPPER = Model(
    "roi_cropper",
    (FRAME, NODULE_PROBABILITY, GEOMETRY),
    (ROI, NODULE_FOUND, BOX, MASK, MORPHOLOGY),
)
RESNET18 = Model("resnet18", (ROI, NODULE_FOUND, OOD_SCORE), (MALIGNANCY, EVIDENCE, DECISION))
MORPHOLOGY_FOREST = Model(
    "morphology_forest", (MORPHOLOGY, NODULE_FOUND, OOD_SCORE), (FOREST_MALIGNANCY,)
)
ENSEMBLE = Model(
    "thyroid_screening",
    (IMAGE,),
    (
        DECISION,
        NODULE_FOUND,
        MALIGNANCY,
        FOREST_MALIGNANCY,
        OOD_SCORE,
        BOX,
        MASK,
        MORPHOLOGY,
        EVIDENCE,
    ),
)

# The ensemble's steps in order; the last two run side by side. Tensors of the same name are the
# same tensor.
STEPS = (FRAME_DECODER, TRANSUNET, ROI_CROPPER, RESNET18, MORPHOLOGY_FOREST)
NETWORKS = (TRANSUNET, RESNET18)
MODELS = (*STEPS, ENSEMBLE)


@dataclass(frozen=True)
class CropperParameters:
    """What the cropper may be tuned by: parameters in the model's config, these are the defaults.

    Attributes:
        threshold: Probability from 0 to 1 from which a pixel belongs to a nodule.
        minimum_area_share: Smallest nodule, as a share of the area of the sector's box.
        margin_share: Margin around the nodule on each side, as a share of its longer side.
    """

    threshold: float = 0.5
    minimum_area_share: float = 0.002
    margin_share: float = 0.2
