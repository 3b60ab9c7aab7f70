"""TransUNet in both sizes: its parameters counted, its maps measured."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT, PAPER, TransUNetConfig

# The published network has two output classes; ours has one, which saves one 3 x 3 kernel over the
# last 16 channels, and its bias.
PUBLISHED_WITH_TWO_CLASSES = 105_276_066


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


def test_compact_size_has_about_four_million_parameters() -> None:
    assert 3_500_000 < count(TransUNet(COMPACT)) < 4_500_000


@pytest.mark.parametrize(
    ("config", "widths"),
    [(PAPER, (64, 256, 512, 1024)), (COMPACT, (24, 48, 96, 160))],
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


def test_decoder_takes_the_skips_it_should() -> None:
    with torch.device("meta"):
        decoder = TransUNet(PAPER).decoder
    taken = [next(block.parameters()).shape[1] for block in decoder]
    assert taken == [512 + 512, 256 + 256, 128 + 64, 64]


def test_three_channels_see_the_grey_picture_three_times(tiny_config: TransUNetConfig) -> None:
    grey = TransUNet(tiny_config).eval()
    colour = TransUNet(dataclasses.replace(tiny_config, in_channels=3)).eval()
    state = colour.state_dict()
    grey.load_state_dict(
        state | {"encoder.stem.0.weight": state["encoder.stem.0.weight"].sum(1, True)}
    )
    picture = torch.randn(2, 1, 224, 224)
    with torch.no_grad():
        assert torch.allclose(colour(picture), grey(picture), atol=1e-5)


def test_every_skip_reaches_the_answer(
    tiny_config: TransUNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = TransUNet(tiny_config).eval()
    with torch.no_grad():
        maps = network.encoder(torch.randn(1, 1, 224, 224))
        monkeypatch.setattr(network.encoder, "forward", lambda _: maps)
        answer = network(torch.zeros(1, 1, 224, 224))
        for position in range(4):
            changed = list(maps)
            changed[position] = maps[position] + 1
            monkeypatch.setattr(network.encoder, "forward", lambda _, given=changed: given)
            moved = network(torch.zeros(1, 1, 224, 224)) - answer
            assert moved.abs().max() > 1e-4


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
    picture = torch.randn(1, 16, 14, 14)
    changed = picture.clone()
    changed[0, :, 3, 11] += 1
    with torch.no_grad():
        moved = (transformer(picture) - transformer(changed)).abs().sum(dim=1)[0]
    assert moved[3, 11] > 0
    moved[3, 11] = 0
    assert moved.max() == 0
