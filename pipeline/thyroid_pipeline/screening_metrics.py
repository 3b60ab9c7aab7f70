"""What was screened, as Prometheus metrics of the Python processes inside Triton.

Triton itself counts requests, not answers: a server that finds a nodule in nothing any more looks
healthy. So the process that holds an answer's tensors counts it. The cropper is one in every
profile; ResNet-18 is one where a Python-based backend runs it, as in the profile `cpu`, but not
where Triton's own TensorRT backend does.

Only sums over frames are kept: nothing here tells one frame, request or patient from another.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thyroid_pipeline import contract
from thyroid_pipeline.warmup import PROBE_REQUEST_ID

_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))
_OOD_SHARES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 4.0)


@dataclass(frozen=True)
class Count:
    """A counter of the rows of a tensor, by their value.

    Attributes:
        name: Of the metric.
        description: For whoever reads the metrics page.
        tensor: A tensor of one value a row.
        label: The name of the label.
        values: The label's value for each value of the tensor.
    """

    name: str
    description: str
    tensor: contract.Tensor
    label: str
    values: Mapping[int, str]


@dataclass(frozen=True)
class Distribution:
    """A histogram of one figure a row; rows without one, NaN, are left out.

    Attributes:
        name: Of the metric.
        description: For whoever reads the metrics page.
        tensor: What the figures are taken from.
        buckets: Their upper bounds, ascending.
        figure: A tensor with its batch axis to one float a row.
    """

    name: str
    description: str
    tensor: contract.Tensor
    buckets: tuple[float, ...]
    figure: Callable[[NDArray[Any]], NDArray[Any]]


def _only_value(rows: NDArray[Any]) -> NDArray[Any]:
    return rows.reshape(-1)


def _peak_probability(rows: NDArray[Any]) -> NDArray[Any]:
    peaks: NDArray[Any] = rows.reshape(len(rows), -1).max(axis=1)
    return peaks.astype(float) / contract.PROBABILITY_SCALE


FRAMES = Count(
    "thyroid_frames_total",
    "Frames that came to the cropper, by whether a nodule was found",
    contract.NODULE_FOUND,
    "nodule",
    {0: "none", 1: "found"},
)
PEAK_PROBABILITY = Distribution(
    "thyroid_nodule_probability",
    "Highest nodule probability of each frame, 0 to 1",
    contract.NODULE_PROBABILITY,
    _TENTHS,
    _peak_probability,
)
DECISIONS = Count(
    "thyroid_decisions_total",
    "Frames judged, by decision",
    contract.DECISION,
    "decision",
    {decision.value: decision.label for decision in contract.Decision},
)
MALIGNANCY = Distribution(
    "thyroid_malignancy",
    "Malignancy of the frames that were given one, 0 to 1",
    contract.MALIGNANCY,
    _TENTHS,
    _only_value,
)
OOD_SCORE = Distribution(
    "thyroid_ood_score",
    f"How unlike known frames each frame was; above {contract.OOD_LIMIT:g} no malignancy is given",
    contract.OOD_SCORE,
    tuple(share * contract.OOD_LIMIT for share in _OOD_SHARES),
    _only_value,
)

METRICS: dict[str, tuple[Count | Distribution, ...]] = {
    contract.ROI_CROPPER.name: (FRAMES, PEAK_PROBABILITY),
    contract.RESNET18.name: (DECISIONS, MALIGNANCY, OOD_SCORE),
}
"""What is counted, by the model whose process holds the tensors, as inputs or outputs."""


class ScreeningMetrics:
    """The metrics of one model, as long as one instance of it lives."""

    def __init__(self, pb_utils: Any, model_name: str) -> None:
        """Register the metrics; a model that has none in `METRICS` gets none.

        Args:
            pb_utils: Triton's `triton_python_backend_utils`.
            model_name: The model's name in the repository.
        """
        self._pb_utils = pb_utils
        self._model_name = model_name
        # Triton drops a metric whose family nobody holds any more.
        self._families: list[Any] = []
        try:
            self._recorders = [self._recorder(each) for each in METRICS.get(model_name, ())]
        except pb_utils.TritonModelException:  # the server was started without metrics
            self._recorders = []

    def observe(self, requests: Sequence[Any], responses: Sequence[Any]) -> None:
        """Count what was answered; never raises, since an answer is worth more than its count.

        Readiness checks, which carry `PROBE_REQUEST_ID`, and failed requests are not counted.

        Args:
            requests: Triton's, as `execute` got them.
            responses: Theirs, in the same order.
        """
        if not self._recorders:
            return
        try:
            for request, response in zip(requests, responses, strict=True):
                if request.request_id() == PROBE_REQUEST_ID or response.has_error():
                    continue
                tensors = {each.name(): each for each in request.inputs()}
                tensors |= {each.name(): each for each in response.output_tensors()}
                for name, record in self._recorders:
                    # Whoever calls a model by itself may leave outputs out.
                    if name in tensors:
                        record(tensors[name].as_numpy())
        except Exception:
            self._pb_utils.Logger.log_error(
                f"the metrics of {self._model_name} miss a batch:\n{traceback.format_exc()}"
            )

    def _recorder(self, metric: Count | Distribution) -> tuple[str, Callable[[NDArray[Any]], None]]:
        """The name of a metric's tensor, and what takes that tensor's rows into the metric."""
        kinds = self._pb_utils.MetricFamily
        counts = isinstance(metric, Count)
        family = kinds(
            name=metric.name,
            description=metric.description,
            kind=kinds.COUNTER if counts else kinds.HISTOGRAM,
        )
        self._families.append(family)
        if isinstance(metric, Distribution):
            histogram = family.Metric(labels={}, buckets=list(metric.buckets))
            figure = metric.figure

            def record_figures(rows: NDArray[Any]) -> None:
                for value in figure(rows).astype(float):
                    if np.isfinite(value):
                        histogram.observe(float(value))

            return metric.tensor.name, record_figures
        counters = {
            value: family.Metric(labels={metric.label: text})
            for value, text in metric.values.items()
        }

        def record_counts(rows: NDArray[Any]) -> None:
            for value, count in zip(*np.unique(rows.astype(int), return_counts=True), strict=True):
                counters[int(value)].increment(int(count))

        return metric.tensor.name, record_counts
