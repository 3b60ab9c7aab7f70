"""The gate against Mahalanobis' distance by SciPy, with scikit-learn's covariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from thyroid_training.ood import Features, OodGate, fit_gate, relative_distances

WIDTH = 6


def frames(count: int, seed: int, centre: float = 0.0) -> Features:
    """Features that go together and are of very different sizes."""
    rng = np.random.default_rng(seed)
    together = rng.normal(0, 1, (count, WIDTH)) @ rng.normal(0, 1, (WIDTH, WIDTH)) + centre
    return np.asarray(together * np.geomspace(0.1, 30, WIDTH), np.float32)


def distances(known: Features, asked: Features) -> NDArray[np.float64]:
    """Root of the mean square of whitened features: Mahalanobis' distance over sqrt(width)."""
    mean, spread = known.astype(float).mean(axis=0), known.astype(float).std(axis=0)
    spread = np.maximum(spread, 0.05 * np.median(spread))
    inverse = np.linalg.inv(LedoitWolf().fit((known - mean) / spread).covariance_)
    centre = np.zeros(WIDTH)
    found = [mahalanobis((row - mean) / spread, centre, inverse) for row in asked]
    return np.asarray(np.array(found) / np.sqrt(WIDTH))


def answers(gate: OodGate, asked: Features) -> NDArray[np.float32]:
    with torch.no_grad():
        score = gate(torch.from_numpy(asked))
    assert score.shape == (len(asked), 1)
    assert score.dtype == torch.float32
    return np.asarray(score[:, 0].numpy())


@pytest.mark.parametrize(("count", "limit"), [(200, 1.0), (200, 2.5), (8, 1.7)])
def test_one_set_is_mahalanobis_distance(count: int, limit: float) -> None:
    known, asked = frames(count, seed=0), frames(9, seed=1, centre=2.0)
    wanted = distances(known, asked) / (np.median(distances(known, known)) * limit)
    assert np.allclose(answers(fit_gate([known], [limit]), asked), wanted, rtol=1e-3)
    assert (wanted > 1).any()


def test_several_sets_give_the_nearest() -> None:
    sets = [frames(60, seed=0), frames(40, seed=1, centre=9.0), frames(50, seed=2, centre=-9.0)]
    limits = [1.5, 2.0, 3.0]
    gate = fit_gate(sets, limits)
    asked = np.concatenate([known[:5] for known in sets])
    each = [answers(fit_gate([s], [limit]), asked) for s, limit in zip(sets, limits, strict=True)]
    assert np.allclose(answers(gate, asked), np.min(each, axis=0), rtol=1e-5)
    assert set(np.argmin(each, axis=0)) == {0, 1, 2}


def test_limit_is_in_units_of_the_sets_own_median() -> None:
    known = frames(101, seed=3)
    assert np.median(answers(fit_gate([known], [1.0]), known)) == pytest.approx(1, rel=1e-5)
    assert np.median(answers(fit_gate([known], [4.0]), known)) == pytest.approx(0.25, rel=1e-5)


def test_relative_distances_are_those_at_a_limit_of_one() -> None:
    known, asked = frames(50, seed=0), frames(7, seed=1, centre=1.0)
    wanted = distances(known, asked) / np.median(distances(known, known))
    got = relative_distances(known, asked)
    assert got.dtype == np.float32
    assert np.allclose(got, wanted, rtol=1e-3)


def test_an_empty_gate_finds_nothing_strange() -> None:
    asked = frames(20, seed=0) * np.float32(1e6)
    assert not answers(OodGate(1, WIDTH), asked).any()
    assert not answers(OodGate(3, WIDTH), asked).any()


@pytest.mark.parametrize("still", [1, 4, WIDTH - 1])
def test_features_that_never_move_do_not_blow_up(still: int) -> None:
    """A dead channel of a ReLU; where most are dead as well."""
    known, asked = frames(50, seed=0), frames(5, seed=1)
    known[:, :still] = asked[:, :still] = 0.1
    gate = fit_gate([known], [2.0])
    assert gate.whitening.isfinite().all()
    unmoved = answers(gate, asked)
    assert np.isfinite(unmoved).all()
    assert np.median(answers(gate, known)) == pytest.approx(0.5, rel=1e-5)
    asked[:, 0] += 0.05 * known[:, still:].std(axis=0).min()  # next to nothing of the others
    # Some medians at most: by the bare spread, which is 0, it would be without end.
    assert np.abs(answers(gate, asked) - unmoved).max() < 30


def test_frames_that_are_all_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="50 frames of a set are all alike: give different"):
        fit_gate([np.ones((50, WIDTH), np.float32)], [1.0])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_frames_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} frames describe no set: give at least 3"):
        fit_gate([frames(10, seed=0), frames(count, seed=0)], [1.0, 1.0])


@pytest.mark.parametrize(("sets", "limits"), [(0, 0), (1, 0), (1, 2)])
def test_each_set_needs_its_limit(sets: int, limits: int) -> None:
    with pytest.raises(ValueError, match=f"{sets} sets came with {limits} limits: one limit for"):
        fit_gate([frames(9, seed=0)] * sets, [1.0] * limits)


def test_an_empty_gate_is_made_to_hold_what_was_kept() -> None:
    fitted = fit_gate([frames(20, seed=0), frames(20, seed=1)], [1.0, 2.0])
    state = {f"gate.{name}": value for name, value in fitted.state_dict().items()}
    assert set(state) == {"gate.mean", "gate.whitening", "gate.limit"}
    gate = OodGate.shaped_as(state, WIDTH)
    gate.load_state_dict(fitted.state_dict())
    asked = frames(4, seed=5)
    assert np.array_equal(answers(gate, asked), answers(fitted, asked))
    assert OodGate.shaped_as({}, WIDTH).mean.shape == (1, 1, WIDTH)
