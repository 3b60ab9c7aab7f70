"""Traits of phantoms: their vocabulary and their shares."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from thyroid_training.phantom_traits import (
    CALCIFICATIONS,
    ECHOGENICITIES,
    MARGINS,
    PhantomTraits,
    sample_traits,
)

PLAIN = PhantomTraits(
    nodule=True,
    echogenicity="hypoechoic",
    margin="smooth",
    taller_than_wide=False,
    calcifications="none",
)


def test_sampled_traits_follow_the_shares() -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_traits(rng, nodule_share=0.7) for _ in range(3000)]
    assert np.mean([traits.nodule for traits in drawn]) == pytest.approx(0.7, abs=0.04)
    assert np.mean([traits.two_views for traits in drawn]) == pytest.approx(1 / 3, abs=0.04)
    assert {traits.echogenicity for traits in drawn} == set(ECHOGENICITIES)
    assert {traits.margin for traits in drawn} == set(MARGINS)
    assert {traits.calcifications for traits in drawn} == set(CALCIFICATIONS)
    assert {traits.taller_than_wide for traits in drawn} == {False, True}


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (1.0, True)])
def test_nodule_share_of_none_and_all(share: float, expected: bool) -> None:
    rng = np.random.default_rng(1)
    assert {sample_traits(rng, share).nodule for _ in range(200)} == {expected}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"echogenicity": "grey"}, "`echogenicity` is 'grey', wanted one of anechoic"),
        ({"margin": "round"}, "`margin` is 'round', wanted one of smooth"),
        ({"calcifications": "some"}, "`calcifications` is 'some', wanted one of none"),
        ({"cystic_share": 0.9}, "`cystic_share` is 0.9, wanted 0.0 to 0.6"),
    ],
)
def test_unknown_traits_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **change)  # type: ignore[arg-type]


def test_nodule_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`nodule_share` is 1\.5, wanted 0 to 1"):
        sample_traits(np.random.default_rng(0), 1.5)
