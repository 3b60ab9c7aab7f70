"""Figures of classifiers: scikit-learn's, in closed cases, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from thyroid_pipeline.contract import Decision
from thyroid_training.bootstrap import Interval
from thyroid_training.classification_scores import (
    PUBLISHED,
    Calls,
    ClassificationScores,
    Classifier,
    all_malignant,
    require_both_grades,
)
from thyroid_training.figures_classification import (
    auroc_by_seed_and_fold,
    calibration_error_by_chance,
    call_intervals,
    decision_intervals,
    difference_intervals,
    score_intervals,
)

COUNT = 90
LABELS = (np.arange(COUNT) // 2 % 6 > 0).astype(np.int64)


def make_scores(
    rows: NDArray[np.float64], labels: NDArray[np.int64] = LABELS
) -> ClassificationScores:
    count = len(labels)
    return ClassificationScores(
        ids=tuple(f"image {index}" for index in range(count)),
        groups=tuple(f"patient {index // 2}" for index in range(count)),
        labels=labels,
        folds=np.tile(np.arange(count) // 2 % 5, (len(rows), 1)),
        scores=rows,
    )


@pytest.fixture(scope="module")
def drawn() -> ClassificationScores:
    generator = np.random.default_rng(3)
    noise = generator.normal(LABELS, 1.0, (3, COUNT))
    return make_scores(1 / (1 + np.exp(-noise)))


def estimates(figures: dict[str, Interval]) -> dict[str, float]:
    return {name: figure.estimate for name, figure in figures.items()}


def test_scores_are_judged_as_by_scikit_learn(drawn: ClassificationScores) -> None:
    own = score_intervals(drawn)
    for name, theirs in (
        ("auroc", sklearn_metrics.roc_auc_score),
        ("average_precision", sklearn_metrics.average_precision_score),
        ("brier_score", sklearn_metrics.brier_score_loss),
    ):
        wanted = np.mean([theirs(LABELS, row) for row in drawn.scores])
        assert own[name].estimate == pytest.approx(wanted)
        assert own[name].low < wanted < own[name].high


def test_calls_are_judged_as_by_scikit_learn(drawn: ClassificationScores) -> None:
    calls = Calls("half", drawn.scores >= 0.5)
    own = call_intervals(drawn, calls)
    for name, theirs in (
        ("f1", sklearn_metrics.f1_score),
        ("accuracy", sklearn_metrics.accuracy_score),
        ("balanced_accuracy", sklearn_metrics.balanced_accuracy_score),
        ("mcc", sklearn_metrics.matthews_corrcoef),
    ):
        wanted = np.mean([theirs(LABELS, row) for row in calls.calls])
        assert own[name].estimate == pytest.approx(wanted)
        assert own[name].low < wanted < own[name].high


def test_scores_that_equal_the_labels() -> None:
    perfect = make_scores(LABELS[None].astype(np.float64))
    assert estimates(score_intervals(perfect)) == {
        "auroc": 1,
        "average_precision": 1,
        "brier_score": 0,
        "calibration_error": 0,
    }
    figures = call_intervals(perfect, Calls("half", perfect.scores >= 0.5))
    assert {(figure.low, figure.estimate, figure.high) for figure in figures.values()} == {
        (1, 1, 1)
    }


def test_swapped_scores() -> None:
    swapped = make_scores(1.0 - LABELS[None])
    figures = estimates(score_intervals(swapped))
    assert (figures["auroc"], figures["brier_score"], figures["calibration_error"]) == (0, 1, 1)
    called = estimates(call_intervals(swapped, Calls("half", swapped.scores >= 0.5)))
    assert (called["f1"], called["sensitivity"], called["specificity"], called["mcc"]) == (
        0,
        0,
        0,
        -1,
    )


def test_constant_scores_tell_nothing() -> None:
    share = LABELS.mean()
    figures = score_intervals(make_scores(np.full((2, COUNT), share)))
    assert (figures["auroc"].low, figures["auroc"].high) == (0.5, 0.5)
    assert figures["average_precision"].estimate == pytest.approx(share)
    assert figures["brier_score"].estimate == pytest.approx(share * (1 - share))
    assert figures["calibration_error"].estimate == pytest.approx(0, abs=1e-12)


def test_calling_all_malignant_on_the_papers_set() -> None:
    """286 malignant and 60 benign images give F1 0.905: above the paper's, and worth nothing."""
    labels = np.repeat([1, 0], [286, 60])
    baseline = all_malignant(make_scores(np.full((1, 346), 0.5), labels))
    figures = estimates(call_intervals(baseline.scores, baseline.calls[0]))
    assert figures["f1"] == pytest.approx(0.905, abs=5e-4)
    assert figures["f1"] > max(result.f1 for result in PUBLISHED)
    assert (figures["balanced_accuracy"], figures["mcc"], figures["specificity"]) == (0.5, 0, 0)
    assert estimates(score_intervals(baseline.scores))["auroc"] == 0.5


def test_differences_are_of_the_same_resamples(drawn: ClassificationScores) -> None:
    half = Calls("half", drawn.scores >= 0.5)
    one = Classifier("one", drawn, (half, Calls("own", half.calls)))
    # The same order and nearly the same scores: what is left after pairing is next to nothing.
    nearly = make_scores(np.clip(drawn.scores - 0.001, 0, 1))
    other = Classifier("other", nearly, (half,))
    found = difference_intervals(one, other)
    assert set(found) == {"scores", "half"}
    assert found["scores"]["auroc"] == Interval(0, 0, 0)
    assert abs(found["scores"]["brier_score"].high) < 0.01
    assert found["half"]["f1"] == Interval(0, 0, 0)

    baseline = all_malignant(drawn)
    against = difference_intervals(one, baseline)
    wanted = score_intervals(drawn)["auroc"]
    assert against["scores"]["auroc"].estimate == pytest.approx(wanted.estimate - 0.5)
    assert against["scores"]["auroc"].low == pytest.approx(wanted.low - 0.5)


def test_differences_on_other_images_are_refused(drawn: ClassificationScores) -> None:
    fewer = make_scores(drawn.scores[:, :-2], LABELS[:-2])
    with pytest.raises(ValueError, match="the same images in the same order were wanted"):
        difference_intervals(Classifier("a", drawn, ()), Classifier("b", fewer, ()))


def test_auroc_within_folds(drawn: ClassificationScores) -> None:
    table = auroc_by_seed_and_fold(drawn)
    assert np.shape(table) == (3, 5)
    inside = drawn.folds[1] == 2
    wanted = sklearn_metrics.roc_auc_score(LABELS[inside], drawn.scores[1, inside])
    assert table[1][2] == pytest.approx(wanted)
    labels = np.where(drawn.folds[0] == 4, 1, LABELS)
    without = auroc_by_seed_and_fold(make_scores(drawn.scores, labels))
    assert np.isnan(np.array(without)[:, 4]).all()
    assert not np.isnan(np.array(without)[:, :4]).any()


def test_chance_share_of_the_calibration_error(drawn: ClassificationScores) -> None:
    assert calibration_error_by_chance(all_malignant(drawn).scores) == 0
    assert 0.02 < calibration_error_by_chance(drawn) < 0.3


def test_decisions_counted_by_hand() -> None:
    labels = np.array([1, 1, 1, 1, 0, 0])
    scores = make_scores(np.full((1, 6), 0.5), labels)
    refer, uncertain, routine = Decision.REFER, Decision.UNCERTAIN, Decision.ROUTINE
    rows = np.array([[refer, refer, uncertain, routine, routine, refer]], np.int64)
    assert estimates(decision_intervals(scores, rows)) == pytest.approx(
        {
            "malignant_followed_up_share": 3 / 4,
            "benign_routine_share": 1 / 2,
            "uncertain_share": 1 / 6,
            "refer_share": 1 / 2,
        }
    )


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(value: float) -> None:
    rows = np.full((1, COUNT), 0.5)
    rows[0, 3] = value
    with pytest.raises(ValueError, match=r"0 \(not NaN\) where no nodule was found"):
        make_scores(rows)


def test_a_patient_in_two_folds_is_refused() -> None:
    folds = np.arange(4)[None]
    with pytest.raises(ValueError, match="2 groups lie in 4 pairs of group and fold"):
        ClassificationScores(
            tuple("abcd"), tuple("ppqq"), np.array([0, 0, 1, 1]), folds, np.full((1, 4), 0.5)
        )


@pytest.mark.parametrize(
    ("ids", "rows"), [("abcd", np.full((1, 3), 0.5)), ("abca", np.full((1, 4), 0.5))]
)
def test_uneven_samples_are_refused(ids: str, rows: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="give every seed the same images"):
        ClassificationScores(
            tuple(ids), tuple("ppqq"), np.array([0, 0, 1, 1]), np.zeros((1, 4), np.int64), rows
        )


@pytest.mark.parametrize("labels", [[0, 0, None], [1, None], [None], []])
def test_one_grade_alone_is_refused(labels: list[int | None]) -> None:
    require_both_grades([0, 1, None], "a fold with both")
    with pytest.raises(ValueError, match=f"fold 3 has {labels.count(0)} benign and"):
        require_both_grades(labels, "fold 3")
