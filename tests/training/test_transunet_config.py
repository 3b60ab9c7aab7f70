"""Configs that name no network are refused with the value and the way out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from thyroid_training.transunet_config import COMPACT, PAPER, SIZES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": 250}, ["`image_size` (=250)", "divisible by 16", "take 240"]),
        ({"image_size": 7}, ["`image_size` (=7)", "take 16"]),
        ({"image_size": 0}, ["`image_size` (=0)", "take 16"]),
        ({"image_size": -16}, ["`image_size` (=-16)", "take 16"]),
        ({"vit_heads": 7}, ["`vit_width` (=768)", "`vit_heads` (=7)", "another number of heads"]),
        ({"vit_heads": 0}, ["`vit_heads` (=0)"]),
        ({"in_channels": 2}, ["`in_channels` (=2)", "1, 3"]),
        ({"encoder": "vgg"}, ["`encoder` (='vgg')", "'resnet', 'efficientnet_lite'"]),
        (
            {"decoder_widths": (64, 32)},
            ["`decoder_widths` (=(64, 32))", "3 or 4 widths", "give 4"],
        ),
        ({"decoder_widths": (256, 128, 64, 32, 16)}, ["`decoder_widths`", "3 or 4 widths"]),
        (
            {"encoder": "efficientnet_lite", "stage_depths": (2, 2, 1)},
            ["`stage_depths` (=(2, 2, 1))", "at least 2", "take 2"],
        ),
        ({"stem_width": 48}, ["`stem_width` (=48)", "divisible by 32", "take 32"]),
        (
            {"stage_widths": (256, 500, 1024)},
            ["`stage_widths` (=500)", "divisible by 128", "take 384"],
        ),
    ],
)
def test_refuses_what_is_no_network(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as failure:  # noqa: PT011 - the words are checked one by one
        dataclasses.replace(PAPER, **change)
    for word in words:
        assert word in str(failure.value)


def test_the_compact_encoder_takes_any_width() -> None:
    config = dataclasses.replace(COMPACT, stem_width=23, stage_widths=(37, 71, 101))
    assert config.stage_widths == (37, 71, 101)


@pytest.mark.parametrize("widths", [(64, 48, 32), (64, 48, 32, 8)])
def test_decoder_may_leave_off_at_a_half(widths: tuple[int, ...]) -> None:
    for config in (COMPACT, PAPER):
        assert dataclasses.replace(config, decoder_widths=widths).decoder_widths == widths


def test_grid_is_a_sixteenth_of_the_side() -> None:
    assert dataclasses.replace(COMPACT, image_size=160).grid == 10


def test_sizes_are_the_two_configs() -> None:
    assert SIZES == {"paper": PAPER, "compact": COMPACT}
