"""The whole screening in one process, PyTorch and no Triton: what the server must agree with.

All but the forest, which is scikit-learn's and stands in the ONNX file alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc.model_config_pb2 import ModelConfig

from thyroid_pipeline import contract
from thyroid_pipeline.crop import Crop, crop_nodule
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.steps import read_parameters
from thyroid_training.checkpoint import (
    load_classification_graph,
    load_segmentation_graph,
    onnx_path,
)
from thyroid_training.serving import ClassificationGraph, SegmentationGraph


@dataclass(frozen=True)
class OfflineAnswer:
    """One image's answer.

    Attributes:
        nodule_probability: UINT8 [MAP_SIDE_PX, MAP_SIDE_PX], 255 is 1.
        crop: The cropper's outputs.
        ood_score: At least 0.
        malignancy: 0 to 1, NaN where no nodule was found or the frame is out of distribution.
        evidence: FP32 [EVIDENCE_SIDE, EVIDENCE_SIDE].
        decision: By the operating point.
    """

    nodule_probability: npt.NDArray[np.uint8]
    crop: Crop
    ood_score: float
    malignancy: float
    evidence: npt.NDArray[np.float32]
    decision: contract.Decision


def read_cropper_parameters(model_repository: Path) -> contract.CropperParameters:
    """Read the cropper's parameters from its config for the CPU profile.

    Raises:
        ValueError: A parameter is unknown, or no number from 0 to 1.
    """
    path = (
        model_repository / contract.ROI_CROPPER.name / "configs" / f"{contract.CPU_PROFILE}.pbtxt"
    )
    config = text_format.Parse(path.read_text(), ModelConfig())
    return read_parameters(MessageToDict(config, preserving_proto_field_name=True))


class OfflinePipeline:
    """Runs images through the same steps as the ensemble.

    Args:
        segmentation: The first network as it is served.
        classification: The second.
        parameters: The cropper's.
    """

    def __init__(
        self,
        segmentation: SegmentationGraph,
        classification: ClassificationGraph,
        parameters: contract.CropperParameters | None = None,
    ) -> None:
        self._segmentation = segmentation.eval()
        self._classification = classification.eval()
        self._parameters = parameters or contract.CropperParameters()

    @classmethod
    def from_repository(cls, model_repository: Path) -> OfflinePipeline:
        """Read both networks back from the ONNX files of a model repository.

        The cropper's parameters are those of its config there.
        """
        return cls(
            load_segmentation_graph(onnx_path(model_repository, contract.TRANSUNET)),
            load_classification_graph(onnx_path(model_repository, contract.RESNET18)),
            read_cropper_parameters(model_repository),
        )

    @torch.no_grad()
    def screen(self, image: bytes) -> OfflineAnswer:
        """Screen one encoded image.

        Raises:
            ImageError: The image cannot be screened.
        """
        frame, geometry = make_frame(image)
        probability, ood_score = self._segmentation(torch.from_numpy(frame)[None, None])
        nodule_probability = probability[0, 0].numpy()
        crop = crop_nodule(frame, nodule_probability, geometry, self._parameters)
        malignancy, evidence, decision = self._classification(
            torch.from_numpy(crop.roi)[None, None], torch.tensor([[crop.nodule_found]]), ood_score
        )
        return OfflineAnswer(
            nodule_probability,
            crop,
            float(ood_score),
            float(malignancy),
            evidence[0].numpy(),
            contract.Decision(int(decision)),
        )
