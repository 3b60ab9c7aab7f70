"""What is counted of which answers, without a server; `tests/model_repository` has the real one."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from thyroid_pipeline import contract
from thyroid_pipeline.screening_metrics import METRICS, Count, Distribution, ScreeningMetrics
from thyroid_pipeline.warmup import PROBE_REQUEST_ID


class TritonModelException(Exception):  # noqa: N818 - Triton's own name
    pass


class Family:
    """As Triton's: a metric is lost with its family."""

    COUNTER, HISTOGRAM = "counter", "histogram"

    def __init__(self, *, name: str, description: str, kind: str) -> None:
        self.name, self.description, self.kind = name, description, kind
        self.counted: Counter[str] = Counter()
        self.observed: list[float] = []
        self.buckets: list[float] = []
        FAMILIES[name] = self

    def Metric(  # noqa: N802 - Triton's own name
        self, *, labels: dict[str, str], buckets: list[float] | None = None
    ) -> Any:
        assert (buckets is None) == (self.kind == self.COUNTER)
        self.buckets = buckets or []
        (label,) = labels.values() or [""]
        self.counted[label] += 0
        return SimpleNamespace(
            increment=lambda by: self.counted.update({label: by}),
            observe=self.observed.append,
        )


FAMILIES: dict[str, Family] = {}


def pb_utils() -> Any:
    FAMILIES.clear()
    logged: list[str] = []
    return SimpleNamespace(
        MetricFamily=Family,
        TritonModelException=TritonModelException,
        Logger=SimpleNamespace(log_error=logged.append),
        logged=logged,
    )


def tensors(arrays: dict[str, NDArray[Any]]) -> list[Any]:
    return [
        SimpleNamespace(name=lambda name=name: name, as_numpy=lambda array=array: array)
        for name, array in arrays.items()
    ]


def request(request_id: str = "", **arrays: NDArray[Any]) -> Any:
    return SimpleNamespace(request_id=lambda: request_id, inputs=lambda: tensors(arrays))


def response(*, failed: bool = False, **arrays: NDArray[Any]) -> Any:
    return SimpleNamespace(has_error=lambda: failed, output_tensors=lambda: tensors(arrays))


def judged(*rows: tuple[contract.Decision, float]) -> Any:
    decisions, scores = zip(*rows, strict=True)
    return response(
        decision=np.array(decisions, np.int32)[:, None],
        malignancy=np.array(scores, np.float32)[:, None],
    )


def test_decisions_and_malignancies_are_counted_by_row() -> None:
    metrics = ScreeningMetrics(pb_utils(), contract.RESNET18.name)
    scores = np.array([[0.25], [3.0], [0.5]], np.float32)
    answer = judged(
        (contract.Decision.REFER, 0.75),
        (contract.Decision.OUT_OF_DISTRIBUTION, np.nan),
        (contract.Decision.REFER, 0.5),
    )
    metrics.observe([request(ood_score=scores)], [answer])
    metrics.observe([request()], [judged((contract.Decision.NO_NODULE, np.nan))])
    assert FAMILIES["thyroid_decisions_total"].counted == {
        "no_nodule": 1,
        "routine": 0,
        "uncertain": 0,
        "refer": 2,
        "out_of_distribution": 1,
    }
    assert FAMILIES["thyroid_malignancy"].observed == [0.75, 0.5]
    assert FAMILIES["thyroid_ood_score"].observed == [0.25, 3.0, 0.5]


def test_the_cropper_counts_nodules_and_the_peak_of_each_map() -> None:
    metrics = ScreeningMetrics(pb_utils(), contract.ROI_CROPPER.name)
    maps = np.zeros((3, *contract.NODULE_PROBABILITY.shape), np.uint8)
    maps[0, 0, 5, 7], maps[2, 0, 0, 0] = 255, 51
    metrics.observe(
        [request(nodule_probability=maps)],
        [response(nodule_found=np.array([[True], [False], [False]]))],
    )
    assert FAMILIES["thyroid_frames_total"].counted == {"found": 1, "none": 2}
    assert FAMILIES["thyroid_nodule_probability"].observed == pytest.approx([1.0, 0.0, 0.2])


def test_readiness_checks_and_failures_are_not_counted() -> None:
    utils = pb_utils()
    metrics = ScreeningMetrics(utils, contract.RESNET18.name)
    refer = judged((contract.Decision.REFER, 0.9))
    metrics.observe(
        [request(PROBE_REQUEST_ID), request(), request("a client's own")],
        [refer, response(failed=True), refer],
    )
    assert FAMILIES["thyroid_decisions_total"].counted["refer"] == 1
    assert FAMILIES["thyroid_malignancy"].observed == pytest.approx([0.9])
    assert not utils.logged


def test_an_output_left_out_is_left_out_of_the_metrics() -> None:
    utils = pb_utils()
    metrics = ScreeningMetrics(utils, contract.RESNET18.name)
    metrics.observe([request()], [response(evidence=np.zeros((1, *contract.EVIDENCE.shape)))])
    assert not any(family.counted.total() for family in FAMILIES.values())
    assert not utils.logged


def test_what_cannot_be_counted_is_logged_and_not_raised() -> None:
    utils = pb_utils()
    metrics = ScreeningMetrics(utils, contract.RESNET18.name)
    unknown = response(decision=np.array([[99]], np.int32))
    metrics.observe([request()], [unknown])
    (entry,) = utils.logged
    assert entry.startswith("the metrics of resnet18 miss a batch:\nTraceback")


def test_other_models_have_none() -> None:
    metrics = ScreeningMetrics(pb_utils(), contract.FRAME_DECODER.name)
    metrics.observe([request()], [response()])
    assert not FAMILIES


def test_a_server_without_metrics_serves_all_the_same() -> None:
    def refuse(**_: object) -> None:
        raise TritonModelException("metrics are off")

    refuse.COUNTER = refuse.HISTOGRAM = ""  # type: ignore[attr-defined]
    utils = pb_utils()
    utils.MetricFamily = refuse
    metrics = ScreeningMetrics(utils, contract.RESNET18.name)
    metrics.observe([request()], [judged((contract.Decision.REFER, 0.9))])
    assert not utils.logged


def test_every_metric_reads_a_tensor_of_its_model_and_every_value_has_a_label() -> None:
    models = {model.name: model for model in contract.MODELS}
    names = []
    for model_name, metrics in METRICS.items():
        model = models[model_name]
        for metric in metrics:
            names.append(metric.name)
            assert metric.tensor in (*model.inputs, *model.outputs)
            if isinstance(metric, Count):
                assert metric.name.endswith("_total")
            else:
                assert isinstance(metric, Distribution)
                assert list(metric.buckets) == sorted(set(metric.buckets))
    assert len(set(names)) == len(names)
