"""The networks as they are served: UINT8 in, UINT8 or probabilities out, everything in the graph.

What is exported to ONNX, what the offline pipeline runs and what training feeds through
`normalise` is this code, so that mean, standard deviation, quantisation, calibration and operating
point stand in one place, and in one file with the weights that they belong to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_training.area_mean import AreaMean
from thyroid_training.calibration import Calibration
from thyroid_training.ood import OodGate
from thyroid_training.operating_point import OperatingPoint
from thyroid_training.resnet18 import ResNet18
from thyroid_training.transunet import TransUNet

# Of grey values within the sector, over the training frames, rounded: fixed constants, so that
# no image is scaled by its own content.
_MEAN = 72.0
_STANDARD_DEVIATION = 40.0

# Side of the frame's middle that is looked at from nearer, a seventh less than the frame's; it
# begins and ends on whole pixels of the map.
_NEAR_SIDE_PX = 6 * contract.FRAME_SIDE_PX // 7
_NEAR_MAP_PX = 6 * contract.MAP_SIDE_PX // 7


def normalise(grey: Tensor) -> Tensor:
    """Grey values 0 to 255 (FP32, any shape) to the networks' input."""
    return (grey - _MEAN) / _STANDARD_DEVIATION


def quantise(probability: Tensor) -> Tensor:
    """Probabilities 0 to 1 (FP32, any shape) to UINT8, as `contract.NODULE_PROBABILITY`."""
    # Round half up by truncation: a Cast truncates alike in PyTorch, ONNX Runtime and TensorRT.
    return (probability * contract.PROBABILITY_SCALE + 0.5).to(torch.uint8)


class SegmentationGraph(nn.Module):
    """TransUNet as `contract.TRANSUNET`: frame to quantised nodule probability and strangeness.

    Args:
        network: Its input's side is at most six sevenths of the frame's.
        gate: Of the network's features; the default finds no frame strange.

    Raises:
        ValueError: The network's input is larger than the frame's middle.
    """

    def __init__(self, network: TransUNet, gate: OodGate | None = None) -> None:
        super().__init__()
        self.network = network
        self.gate = gate or OodGate(1, network.feature_count)
        self.shrink = AreaMean(contract.FRAME_SIDE_PX, network.config.image_size)
        self.shrink_near = AreaMean(_NEAR_SIDE_PX, network.config.image_size)

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Where the nodule is, and how unlike the frame is to those that the network knows.

        Args:
            frame: UINT8 [B, 1, FRAME_SIDE_PX, FRAME_SIDE_PX].

        Returns:
            nodule_probability: UINT8 [B, 1, MAP_SIDE_PX, MAP_SIDE_PX].
            ood_score: FP32 [B, 1], see `contract.OOD_SCORE`.
        """
        probability, features = self.look(frame)
        return quantise(probability), self.gate(features) * contract.OOD_LIMIT

    def look(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Probability and features of frames, from two views that the network sees together.

        The one is the frame, the other its middle, mirrored and from nearer. Left and right are
        alike in a thyroid and nodules lie off the edges, and what the network sees in one of the
        two alone is rarely there. Where both look the probability is their mean, and the features
        are that throughout. It is worth a hundredth of Dice for twice the arithmetic.

        Args:
            frame: UINT8 [B, 1, FRAME_SIDE_PX, FRAME_SIDE_PX].

        Returns:
            probability: FP32 [B, 1, MAP_SIDE_PX, MAP_SIDE_PX], 0 to 1.
            features: FP32 [B, feature_count], see `TransUNet.forward_with_features`.
        """
        grey = frame.to(torch.float32)
        edge = (contract.FRAME_SIDE_PX - _NEAR_SIDE_PX) // 2
        middle = grey[:, :, edge : edge + _NEAR_SIDE_PX, edge : edge + _NEAR_SIDE_PX]
        views = torch.stack((self.shrink(grey), self.shrink_near(middle).flip(3)), dim=1)
        # [B, 2, 1, S, S]
        logits, features = self.network.forward_with_features(normalise(views).flatten(0, 1))
        seen = torch.sigmoid(logits).unflatten(0, (-1, 2))  # type: ignore[no-untyped-call]
        probability = _scaled(seen[:, 0], contract.MAP_SIDE_PX)
        near = _scaled(seen[:, 1].flip(3), _NEAR_MAP_PX)
        edge = (contract.MAP_SIDE_PX - _NEAR_MAP_PX) // 2
        far = probability[:, :, edge : edge + _NEAR_MAP_PX, edge : edge + _NEAR_MAP_PX]
        probability = probability + F.pad((near - far) / 2, (edge, edge, edge, edge))
        pooled = features.unflatten(0, (-1, 2)).mean(dim=1)  # type: ignore[no-untyped-call]
        return probability, pooled


def _scaled(probability: Tensor, side: int) -> Tensor:
    """[B, 1, S, S] to [B, 1, side, side]."""
    if probability.shape[-1] == side:
        return probability
    return F.interpolate(probability, size=(side, side), mode="bilinear", align_corners=False)


class ClassificationGraph(nn.Module):
    """ResNet-18 as `contract.RESNET18`: region of interest to malignancy, evidence and decision.

    Args:
        network: The classifier.
        calibration: Of its logits; the default leaves them.
        operating_point: On the calibrated malignancy; the default decides at one half.
    """

    calibration: Tensor
    operating_point: Tensor

    def __init__(
        self,
        network: ResNet18,
        calibration: Calibration | None = None,
        operating_point: OperatingPoint | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        calibration = calibration or Calibration(scale=1.0, offset=0.0)
        point = operating_point or OperatingPoint(routine_below=0.5, refer_from=0.5, threshold=0.5)
        self.register_buffer("calibration", torch.tensor([calibration.scale, calibration.offset]))
        self.register_buffer(
            "operating_point", torch.tensor([point.routine_below, point.refer_from])
        )

    def forward(
        self, roi: Tensor, nodule_found: Tensor, ood_score: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Malignancy, its class activation map (Zhou et al., arXiv 1512.04150), the decision.

        The map is the feature maps weighted by the linear layer and calibrated; its mean plus a
        constant is the logit, so the map is the answer, spread over the picture.

        Args:
            roi: UINT8 [B, 1, ROI_SIDE_PX, ROI_SIDE_PX].
            nodule_found: BOOL [B, 1].
            ood_score: FP32 [B, 1].

        Returns:
            malignancy: FP32 [B, 1], 0 to 1, NaN where no nodule was found or the frame is strange.
            evidence: FP32 [B, EVIDENCE_SIDE, EVIDENCE_SIDE] in logits, 0 where malignancy is NaN.
            decision: INT32 [B, 1], a value of `contract.Decision`.
        """
        scale, offset = self.calibration[0], self.calibration[1]
        features = self.network.features(
            normalise(roi.to(torch.float32))
        )  # [B, channels, S/32, S/32]
        weight = self.network.fc.weight[:, :, None, None]
        evidence = F.conv2d(features, weight)[:, 0] * scale  # [B, S/32, S/32]
        constant = self.network.fc.bias * scale + offset
        logit = evidence.mean(dim=(1, 2)).unsqueeze(1) + constant  # [B, 1]
        probability = torch.sigmoid(logit)
        familiar = ood_score <= contract.OOD_LIMIT
        answered = nodule_found & familiar
        # One more for each threshold reached: routine, uncertain, refer.
        reached = (
            (probability >= self.operating_point)
            .to(torch.int32)
            .sum(dim=1, keepdim=True, dtype=torch.int32)
        )
        decision = torch.where(
            nodule_found, reached + int(contract.Decision.ROUTINE), int(contract.Decision.NO_NODULE)
        )
        decision = torch.where(familiar, decision, int(contract.Decision.OUT_OF_DISTRIBUTION))
        return (
            torch.where(answered, probability, torch.nan),
            torch.where(answered.unsqueeze(2), evidence, 0.0),
            decision.to(torch.int32),
        )
