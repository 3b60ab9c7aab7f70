"""The networks as they are served: UINT8 in, UINT8 or probabilities out, everything in the graph.

What is exported to ONNX, what the offline pipeline runs and what training feeds through
`normalise` is this code, so that mean, standard deviation and quantisation stand in one place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_training.resnet18 import ResNet18
from thyroid_training.transunet import TransUNet

# Of grey values within the sector, over the training frames, rounded: fixed constants, so that
# no image is scaled by its own content.
_MEAN = 72.0
_STANDARD_DEVIATION = 40.0


def normalise(grey: Tensor) -> Tensor:
    """Grey values 0 to 255 (FP32, any shape) to the networks' input."""
    return (grey - _MEAN) / _STANDARD_DEVIATION


class SegmentationGraph(nn.Module):
    """TransUNet as `contract.TRANSUNET`: frame to quantised nodule probability."""

    def __init__(self, network: TransUNet) -> None:
        super().__init__()
        self.network = network
        self.pool = contract.FRAME_SIDE_PX // network.config.image_size
        if self.pool * network.config.image_size != contract.FRAME_SIDE_PX:
            raise ValueError(
                f"`image_size` (={network.config.image_size}) must divide the frame's side "
                f"({contract.FRAME_SIDE_PX}): the downsample in the graph is a plain average pool"
            )

    def forward(self, frame: Tensor) -> Tensor:
        """UINT8 [B, 1, FRAME_SIDE_PX, FRAME_SIDE_PX] to UINT8 [B, 1, NETWORK_SIDE_PX, ...]."""
        grey = F.avg_pool2d(frame.to(torch.float32), self.pool)
        probability = torch.sigmoid(self.network(normalise(grey)))
        # Round half up by truncation: a Cast truncates alike in PyTorch, ONNX Runtime and TensorRT.
        return (probability * contract.PROBABILITY_SCALE + 0.5).to(torch.uint8)


class ClassificationGraph(nn.Module):
    """ResNet-18 as `contract.RESNET18`: region of interest to malignancy and evidence."""

    def __init__(self, network: ResNet18) -> None:
        super().__init__()
        self.network = network

    def forward(self, roi: Tensor, nodule_found: Tensor) -> tuple[Tensor, Tensor]:
        """Malignancy and its class activation map (Zhou et al., arXiv 1512.04150).

        The map is the last feature map weighted by the linear layer; its mean plus the bias is the
        logit, so the map is the answer, spread over the picture.

        Args:
            roi: UINT8 [B, 1, ROI_SIDE_PX, ROI_SIDE_PX].
            nodule_found: BOOL [B, 1].

        Returns:
            malignancy: FP32 [B, 1], 0 to 1, NaN where no nodule was found.
            evidence: FP32 [B, EVIDENCE_SIDE, EVIDENCE_SIDE] in logits, 0 where none was found.
        """
        features = self.network.features(normalise(roi.to(torch.float32)))  # [B, 512, 7, 7]
        weight = self.network.fc.weight[:, :, None, None]
        evidence = F.conv2d(features, weight)[:, 0]  # [B, 7, 7]
        logit = evidence.mean(dim=(1, 2)).unsqueeze(1) + self.network.fc.bias  # [B, 1]
        malignancy = torch.where(nodule_found, torch.sigmoid(logit), torch.nan)
        return malignancy, torch.where(nodule_found.unsqueeze(2), evidence, 0.0)
