"""Teaching ResNet-18 to see what EfficientNet-Lite0 sees, by hints (FitNets, arXiv 1412.6550).

A ResNet-18 that begins with nothing has no filters for texture, and a few hundred nodules do not
give it any. EfficientNet-Lite0's ImageNet weights can be had as a Python package; torchvision's
ResNet-18 needs a download that not everybody may make. So the pupil is asked, beside the grade, for
the teacher's maps of the same picture, and for their means and deviations over it: what is learned
that way needs no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_training.efficientnet_lite import EfficientNetLiteEncoder
from thyroid_training.published_weights import start_transunet
from thyroid_training.serving import normalise
from thyroid_training.transunet_config import COMPACT_LITE0

# A channel that never changes is no target; this keeps its deviation from dividing by nothing.
_SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Hints:
    """What the teacher sees, or the pupil's imitation of it, standardised by channel.

    Attributes:
        maps: FP32 [B, C, S/4, S/4], [B, C, S/8, S/8] and [B, C, S/16, S/16].
        statistics: FP32 [B, statistics], mean and deviation of each channel over the picture.
    """

    maps: tuple[Tensor, ...]
    statistics: Tensor


class Teacher(nn.Module):
    """A frozen encoder, and the scale of what it sees.

    Args:
        encoder: Its maps at 1/4, 1/8 and 1/16 are taught.
        regions: UINT8 [N, 1, S, S], by which each channel is standardised.
    """

    def __init__(self, encoder: EfficientNetLiteEncoder, regions: Tensor) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        maps, statistics = self._look(normalise(regions.to(torch.float32)))
        self.widths = tuple(part.shape[1] for part in maps)
        for number, part in enumerate(maps):
            deviation = part.std(dim=(0, 2, 3), keepdim=True) + _SMALLEST_DEVIATION
            self.register_buffer(f"mean_{number}", part.mean(dim=(0, 2, 3), keepdim=True))
            self.register_buffer(f"deviation_{number}", deviation)
        self.register_buffer("statistics_mean", statistics.mean(dim=0))
        self.register_buffer("statistics_deviation", statistics.std(dim=0) + _SMALLEST_DEVIATION)

    def forward(self, x: Tensor) -> Hints:
        """Normalised pictures, FP32 [B, 1, S, S], to what the pupil is to imitate."""
        maps, statistics = self._look(x)
        return Hints(
            tuple(
                (part - self.get_buffer(f"mean_{number}")) / self.get_buffer(f"deviation_{number}")
                for number, part in enumerate(maps)
            ),
            (statistics - self.get_buffer("statistics_mean"))
            / self.get_buffer("statistics_deviation"),
        )

    @torch.no_grad()
    def _look(self, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        maps = tuple(part.to(torch.float32) for part in self.encoder(x)[1:])
        over_picture = [
            torch.cat([part.mean(dim=(2, 3)), part.std(dim=(2, 3))], dim=1) for part in maps
        ]
        return maps, torch.cat(over_picture, dim=1)


def published_teacher(regions: Tensor) -> Teacher:
    """The installed package's EfficientNet-Lite0, for one grey channel; see `Teacher`."""
    encoder = start_transunet(COMPACT_LITE0, None).encoder
    assert isinstance(encoder, EfficientNetLiteEncoder)
    return Teacher(encoder, regions)


class Imitation(nn.Module):
    """The layers that translate a ResNet-18's maps into its teacher's; not served.

    Args:
        own: Channels of the ResNet-18's four stages.
        wanted: Channels of the teacher's maps at 1/4, 1/8 and 1/16.
    """

    def __init__(self, own: Sequence[int], wanted: Sequence[int]) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1) for inputs, outputs in zip(own[:-1], wanted, strict=True)
        )
        self.statistics = nn.Linear(own[-1], 2 * sum(wanted))

    def forward(self, maps: Sequence[Tensor], pooled: Tensor) -> Hints:
        """Translate.

        Args:
            maps: Of the four stages, see `ResNet18.maps`.
            pooled: FP32 [B, 512], means of the last.

        Returns:
            The imitation of what the teacher sees.
        """
        return Hints(
            tuple(adapt(part) for adapt, part in zip(self.adapters, maps[:-1], strict=True)),
            self.statistics(pooled),
        )


def imitation_loss(imitated: Hints, seen: Hints) -> Tensor:
    """Mean squared error of the maps, each size alike, plus that of the statistics.

    Args:
        imitated: By the pupil.
        seen: By the teacher.

    Returns:
        FP32 scalar, about 2 for a pupil that says nothing.
    """
    errors = [
        F.mse_loss(own.to(torch.float32), wanted)
        for own, wanted in zip(imitated.maps, seen.maps, strict=True)
    ]
    of_statistics = F.mse_loss(imitated.statistics.to(torch.float32), seen.statistics)
    return torch.stack(errors).mean() + of_statistics
