"""TransUNet in both sizes: its parameters counted, its maps measured."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from miniatures import TINY_COMPACT, TINY_PAPER
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT, COMPACT_LITE0, PAPER, TransUNetConfig

# The published network has two output classes; ours has one, which saves one 3 x 3 kernel over the
# last 16 channels, and its bias.
PUBLISHED_WITH_TWO_CLASSES = 105_276_066

SIDE = COMPACT.image_size


def count(network: TransUNet) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def paper() -> TransUNet:
    torch.manual_seed(0)
    return TransUNet(PAPER).eval()


def test_paper_size_has_the_published_number_of_parameters(paper: TransUNet) -> None:
    assert count(paper) == PUBLISHED_WITH_TWO_CLASSES - (16 * 9 + 1) == 105_275_921
    assert f"{count(paper) / 1e6:.1f}" == "105.3"


def test_paper_size_answers_for_each_pixel(paper: TransUNet) -> None:
    with torch.no_grad():
        logits = paper(torch.randn(1, 1, 224, 224))
    assert logits.shape == (1, 1, 224, 224)
    assert logits.isfinite().all()
    assert logits.std() > 0


def test_compact_size_has_as_many_parameters_as_it_says() -> None:
    with torch.device("meta"):
        assert f"{count(TransUNet(COMPACT)) / 1e6:.1f}" == "2.7"
        assert f"{count(TransUNet(COMPACT_LITE0)) / 1e6:.1f}" == "2.2"


@pytest.mark.parametrize(
    ("config", "widths"),
    [(PAPER, (64, 256, 512, 1024)), (COMPACT, (16, 24, 48, 120))],
    ids=["paper", "compact"],
)
@pytest.mark.parametrize("side", [224, 160])
def test_skips_stand_at_a_half_a_quarter_and_an_eighth(
    config: TransUNetConfig, widths: tuple[int, ...], side: int
) -> None:
    config = dataclasses.replace(config, image_size=side)
    with torch.device("meta"):  # shapes alone: nothing is computed
        network = TransUNet(config)
        maps = network.encoder(torch.zeros(2, config.in_channels, side, side))
        logits = network(torch.zeros(2, 1, side, side))
    shapes = [tuple(map_.shape) for map_ in maps]
    assert shapes == [
        (2, width, side // divisor, side // divisor)
        for width, divisor in zip(widths, (2, 4, 8, 16), strict=True)
    ]
    assert logits.shape == (2, 1, side, side)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (PAPER, [512 + 512, 256 + 256, 128 + 64, 64]),
        (COMPACT, [96 + 48, 64 + 24, 48 + 16]),
    ],
    ids=["paper", "compact"],
)
def test_decoder_takes_the_skips_it_should(config: TransUNetConfig, wanted: list[int]) -> None:
    with torch.device("meta"):
        decoder = TransUNet(config).decoder
    assert [next(block.parameters()).shape[1] for block in decoder] == wanted


@pytest.mark.parametrize("widths", [(8, 8, 8), (8, 8, 8, 8)])
def test_three_and_four_blocks_answer_for_each_pixel(
    tiny_config: TransUNetConfig, widths: tuple[int, ...]
) -> None:
    config = dataclasses.replace(tiny_config, decoder_widths=widths, image_size=64)
    torch.manual_seed(0)
    network = TransUNet(config).eval()
    heads: list[torch.Tensor] = []
    network.head.register_forward_hook(lambda _module, _given, answer: heads.append(answer))
    with torch.no_grad():
        logits = network(torch.randn(2, 1, 64, 64))
    assert logits.shape == (2, 1, 64, 64)
    side = 64 if len(widths) == 4 else 32
    assert heads[0].shape == (2, 1, side, side)
    doubled = F.interpolate(heads[0], size=(64, 64), mode="bilinear")
    assert torch.allclose(logits, doubled, atol=1e-6)


@pytest.mark.parametrize("size", ["compact", "paper"])
def test_features_are_means_and_spreads_of_maps(size: str) -> None:
    """By NumPy, of the maps that the encoder and the transformer give."""
    config = {"compact": TINY_COMPACT, "paper": TINY_PAPER}[size]
    config = dataclasses.replace(config, image_size=64)
    torch.manual_seed(0)
    network = TransUNet(config).eval()
    picture = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        logits, features = network.forward_with_features(picture)
        assert torch.equal(logits, network(picture))
        maps = network.encoder(picture.expand(-1, config.in_channels, -1, -1))
        attended = network.transformer(maps[3]).numpy().astype(float)
    *outer, sixteenth = (map_.numpy().astype(float) for map_ in maps)
    wanted = [f(map_, axis=(2, 3)) for map_ in outer for f in (np.mean, np.std)]
    wanted += [np.mean(map_, axis=(2, 3)) for map_ in (sixteenth, attended)]
    assert features.shape == (3, network.feature_count)
    assert np.allclose(features.numpy(), np.concatenate(wanted, axis=1), rtol=1e-4, atol=1e-5)


def test_three_channels_see_the_grey_picture_three_times(tiny_config: TransUNetConfig) -> None:
    grey = TransUNet(tiny_config).eval()
    colour = TransUNet(dataclasses.replace(tiny_config, in_channels=3)).eval()
    state = colour.state_dict()
    grey.load_state_dict(
        state | {"encoder.stem.0.weight": state["encoder.stem.0.weight"].sum(1, True)}
    )
    picture = torch.randn(2, 1, SIDE, SIDE)
    with torch.no_grad():
        assert torch.allclose(colour(picture), grey(picture), atol=1e-5)


def test_every_skip_reaches_the_answer(
    tiny_config: TransUNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = TransUNet(tiny_config).eval()
    with torch.no_grad():
        maps = network.encoder(torch.randn(1, 1, SIDE, SIDE))
        monkeypatch.setattr(network.encoder, "forward", lambda _: maps)
        answer = network(torch.zeros(1, 1, SIDE, SIDE))
        for position in range(4):
            changed = list(maps)
            changed[position] = maps[position] + 10
            monkeypatch.setattr(network.encoder, "forward", lambda _, given=changed: given)
            moved = network(torch.zeros(1, 1, SIDE, SIDE)) - answer
            assert moved.abs().max() > 1e-5


def test_attention_is_softmax_of_scaled_products(tiny_config: TransUNetConfig) -> None:
    torch.manual_seed(0)
    attention = TransUNet(tiny_config).transformer.get_submodule("layers.0.attention")
    tokens = torch.randn(2, 9, 16)
    weight, bias = attention.get_parameter("qkv.weight"), attention.get_parameter("qkv.bias")
    out, out_bias = attention.get_parameter("out.weight"), attention.get_parameter("out.bias")
    heads = []
    for head in range(2):  # by the textbook: each head on its eight channels
        rows = slice(8 * head, 8 * head + 8)
        query, key, value = (
            F.linear(tokens, part[rows], part_bias[rows])
            for part, part_bias in zip(weight.chunk(3), bias.chunk(3), strict=True)
        )
        shares = torch.softmax(query @ key.transpose(1, 2) / 8**0.5, dim=2)
        heads.append(shares @ value)
    wanted = F.linear(torch.cat(heads, dim=2), out, out_bias)
    assert torch.allclose(attention(tokens), wanted, atol=1e-6)


def test_tokens_keep_their_places(tiny_config: TransUNetConfig) -> None:
    """Without attention and position, a token answers for its own pixel of the map alone."""
    torch.manual_seed(0)
    transformer = TransUNet(tiny_config).transformer.eval()
    for name, parameter in transformer.named_parameters():
        if "attention.out" in name:
            torch.nn.init.zeros_(parameter)
    picture = torch.randn(1, 16, tiny_config.grid, tiny_config.grid)
    changed = picture.clone()
    changed[0, :, 3, 8] += 1
    with torch.no_grad():
        moved = (transformer(picture) - transformer(changed)).abs().sum(dim=1)[0]
    assert moved[3, 8] > 0
    moved[3, 8] = 0
    assert moved.max() == 0
