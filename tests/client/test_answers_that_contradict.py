"""Answers whose parts do not go together are refused with the reason, never passed on."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thyroid_client import AnswerError, Decision, ThyroidClient
from thyroid_client._answers import read_answer
from thyroid_pipeline import contract


@pytest.mark.parametrize("decision", [Decision.ROUTINE, Decision.UNCERTAIN, Decision.REFER])
def test_the_operating_point_is_the_servers(fake: SimpleNamespace, decision: Decision) -> None:
    assert read_answer(fake.NODULE.but(decision=int(decision)).answer()).decision is decision


def test_at_the_limit_an_image_is_in_distribution(fake: SimpleNamespace) -> None:
    limit = np.float32(contract.OOD_LIMIT)
    above = float(np.nextafter(limit, np.float32(np.inf)))
    assert read_answer(fake.NODULE.but(ood_score=float(limit)).answer()).malignancy == 0.75
    assert read_answer(fake.FOREIGN.but(ood_score=above).answer()).malignancy is None
    for said in (fake.NODULE.but(ood_score=above), fake.FOREIGN.but(ood_score=float(limit))):
        with pytest.raises(AnswerError, match="`decision` of the answer is"):
            read_answer(said.answer())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"malignancy": math.nan}, "`malignancy` of the answer is nan"),
        ({"malignancy": 1.01}, r"`malignancy` of the answer is 1\.0"),
        ({"malignancy": -0.01}, r"`malignancy` of the answer is -0\.0"),
        ({"mask": np.zeros((80, 120), bool)}, "`mask` of the answer is empty though"),
        ({"box": (90, 20, 40, 24)}, r"`box` .* is \(90, 20, 40, 24\) in an image of 120 x 80"),
        ({"box": (-1, 20, 40, 24)}, r"`box` .* is \(-1, 20, 40, 24\)"),
        ({"box": (30, 20, 0, 24)}, r"`box` .* is \(30, 20, 0, 24\)"),
        ({"evidence": np.full(contract.EVIDENCE.shape, np.nan)}, "`evidence` .* not finite"),
        ({"morphology": (math.inf,) * 18}, "`morphology` .* infinite"),
        ({"forest_malignancy": math.nan}, "`forest_malignancy` of the answer is nan"),
        ({"forest_malignancy": 1.01}, r"`forest_malignancy` of the answer is 1\.0"),
        ({"decision": 5}, "`decision` of the answer is 5;"),
        ({"decision": -1}, "`decision` of the answer is -1;"),
        ({"decision": 0}, r"`decision` .* is 0 \(no_nodule\) though a nodule was found"),
        ({"decision": 4}, r"`decision` .* is 4 \(out_of_distribution\) though .* is not above 1"),
        ({"ood_score": 1.5}, r"`decision` .* is 3 \(refer\) though .* \(=1\.5\) is above 1"),
        ({"ood_score": -0.1}, r"`ood_score` of the answer is -0\.1"),
        ({"ood_score": math.nan}, "`ood_score` of the answer is nan"),
        ({"ood_score": math.inf}, "`ood_score` of the answer is inf"),
    ],
)
def test_a_nodule_that_contradicts_itself(
    fake: SimpleNamespace, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(AnswerError, match=message):
        read_answer(fake.NODULE.but(**changes).answer())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"malignancy": 0.9}, r"`malignancy` .* though no nodule was found"),
        ({"box": (1, 2, 3, 4)}, r"`box` .* is \(1, 2, 3, 4\) though no nodule was found"),
        ({"mask": np.ones((80, 120), bool)}, "`mask` .* though none was found"),
        ({"forest_malignancy": 0.9}, "`forest_malignancy` .* though no nodule was found"),
        (
            {"evidence": np.eye(contract.EVIDENCE_SIDE)},
            "`evidence` .* not 0 throughout though no nodule was found",
        ),
        ({"morphology": (1.0,) * 18}, "`morphology` .* holds figures though no nodule was found"),
        ({"decision": 1}, r"`decision` .* is 1 \(routine\) though no nodule was found"),
        ({"ood_score": 1.5}, r"`decision` .* is 0 \(no_nodule\) though no nodule .* is above 1"),
    ],
)
def test_no_nodule_that_contradicts_itself(
    fake: SimpleNamespace, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(AnswerError, match=message):
        read_answer(fake.NO_NODULE.but(**changes).answer())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"malignancy": 0.9}, "`malignancy` .* though the image is out of distribution"),
        ({"forest_malignancy": 0.9}, "`forest_malignancy` .* is out of distribution"),
        (
            {"evidence": np.eye(contract.EVIDENCE_SIDE)},
            "`evidence` .* not 0 throughout though the image is out of",
        ),
        ({"decision": 3}, r"`decision` .* is 3 \(refer\) though a nodule was found and"),
        ({"box": (30, 20, 0, 24)}, r"`box` .* is \(30, 20, 0, 24\)"),
        ({"mask": np.zeros((80, 120), bool)}, "`mask` of the answer is empty though"),
    ],
)
def test_out_of_distribution_that_contradicts_itself(
    fake: SimpleNamespace, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(AnswerError, match=message):
        read_answer(fake.FOREIGN.but(**changes).answer())


# What may be said together, by the contract: decision, a nodule, out of distribution, a number.
POSSIBLE = {
    (0, False, False, False),
    (1, True, False, True),
    (2, True, False, True),
    (3, True, False, True),
    (4, False, True, False),
    (4, True, True, False),
}
SHARES = st.floats(0, 1, width=32)
NUMBERS = st.one_of(
    SHARES, st.floats(-0.5, 1.5, width=32), st.sampled_from([math.nan, math.inf, -math.inf])
)
OPINIONS = st.one_of(
    st.tuples(SHARES, SHARES), st.just((math.nan, math.nan)), st.tuples(NUMBERS, NUMBERS)
)


@given(
    decision=st.integers(-1, 5),
    found=st.booleans(),
    opinions=OPINIONS,
    ood_score=st.one_of(SHARES, st.floats(1, 2.0**60, width=32), NUMBERS),
    evidence=st.sampled_from([0.0, 0.5]),
)
def test_only_what_the_contract_allows_is_passed_on(
    fake: SimpleNamespace,
    *,
    decision: int,
    found: bool,
    opinions: tuple[float, float],
    ood_score: float,
    evidence: float,
) -> None:
    malignancy, forest_malignancy = opinions
    said = (fake.NODULE if found else fake.NO_NODULE).but(
        decision=decision,
        malignancy=malignancy,
        forest_malignancy=forest_malignancy,
        ood_score=ood_score,
        evidence=np.full(contract.EVIDENCE.shape, evidence),
    )
    a_number = 0 <= malignancy <= 1 and 0 <= forest_malignancy <= 1
    no_number = math.isnan(malignancy) and math.isnan(forest_malignancy) and evidence == 0
    possible = (
        (decision, found, ood_score > 1, a_number) in POSSIBLE
        and (a_number or no_number)
        and 0 <= ood_score < math.inf
    )
    try:
        findings = read_answer(said.answer())
    except AnswerError:
        assert not possible
        return
    assert possible
    assert findings.decision == decision
    assert findings.ood_score == ood_score
    assert (findings.malignancy, findings.forest_malignancy) == (
        (malignancy, forest_malignancy) if a_number else (None, None)
    )
    assert (findings.evidence is None) == no_number


def test_an_image_out_of_distribution_is_a_screening_without_a_number(
    start_server: Callable[..., Any], fake: SimpleNamespace
) -> None:
    with ThyroidClient(start_server(fake.answering(fake.FOREIGN)).address) as client:
        screening = client.screen(b"image")
    assert screening.out_of_distribution
    assert screening.malignancy is screening.forest_malignancy is None
    assert screening.evidence is None
    assert screening.nodule_found
    assert screening.box is not None


def test_an_impossible_answer_is_refused_without_sending_again(
    start_server: Callable[..., Any], fake: SimpleNamespace
) -> None:
    running = start_server(fake.answering(fake.NODULE.but(decision=0)))
    with (
        ThyroidClient(running.address) as client,
        pytest.raises(AnswerError, match="check that server and client are of the same version"),
    ):
        client.screen(b"image")
    assert len(running.servicer.images) == 1
