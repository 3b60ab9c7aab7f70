"""Whether an exported file answers as what it was made of does, output by output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import nn

from thyroid_pipeline import contract

Arrays = Mapping[str, npt.NDArray[np.generic]]

# The largest difference allowed between two runtimes in FP32, per output. Probabilities are whole
# grey values: rounding may fall either way. Malignancy moves by the sum of 11 million products. A
# distance of features, each in units of its own small deviation, magnifies what rounding does to
# them: a hundredth changes the answer only for a frame that is at the limit anyway. A decision is
# one or the other. Trees answer with a mean of FP32 leaves; a split that fell the other way would
# move one by far more than rounding does.
TOLERANCES = {
    contract.NODULE_PROBABILITY.name: 1.0,
    contract.OOD_SCORE.name: 1e-2,
    contract.MALIGNANCY.name: 1e-4,
    contract.EVIDENCE.name: 1e-3,
    contract.DECISION.name: 0.0,
    contract.FOREST_MALIGNANCY.name: 1e-5,
}

# Outputs without an upper end: above 1 their difference counts as a share of the wanted value.
RELATIVE = frozenset({contract.OOD_SCORE.name})


@dataclass(frozen=True)
class Parity:
    """How far two runtimes are apart on one output.

    Attributes:
        output: Its name.
        compared: Number of elements that were compared.
        largest_difference: Of any element; of an output in `RELATIVE`, as a share of the wanted
            value where that is above 1.
        mean_difference: Over all elements, likewise.
        tolerance: The largest difference allowed.
    """

    output: str
    compared: int
    largest_difference: float
    mean_difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the output is within its tolerance."""
        return self.largest_difference <= self.tolerance


class ParityError(ValueError):
    """Two runtimes disagree, or nothing was compared."""


def compare(wanted: Arrays, got: Arrays, tolerances: Mapping[str, float]) -> list[Parity]:
    """Compare two sets of outputs.

    Args:
        wanted: Outputs by name, of the reference.
        got: Outputs by name, of the same names, shapes and types.
        tolerances: The largest difference allowed, by output.

    Returns:
        The figures of each output.

    Raises:
        ParityError: The names, a shape or a type differ, NaN stand at different places, or there is
            nothing to compare.
    """
    if not wanted or set(wanted) != set(got) or set(wanted) != set(tolerances):
        raise ParityError(
            f"outputs {sorted(wanted)} were to be compared with {sorted(got)} under tolerances for "
            f"{sorted(tolerances)}: the same names, and at least one, were wanted"
        )
    return [_compare_output(name, wanted[name], got[name], tolerances[name]) for name in wanted]


def _compare_output(
    name: str,
    wanted: npt.NDArray[np.generic],
    got: npt.NDArray[np.generic],
    tolerance: float,
) -> Parity:
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        raise ParityError(
            f"output {name} is {got.dtype} {list(got.shape)}, {wanted.dtype} {list(wanted.shape)} "
            "was wanted: the two graphs are not of the same contract"
        )
    first, second = wanted.astype(np.float64), got.astype(np.float64)
    if not np.array_equal(np.isnan(first), np.isnan(second)):
        raise ParityError(
            f"output {name} has {int(np.isnan(second).sum())} NaN, {int(np.isnan(first).sum())} "
            "were wanted, at the same places: `no nodule` is answered differently"
        )
    differences = np.abs(first - second)
    if name in RELATIVE:
        differences /= np.maximum(1.0, np.abs(first))
    differences = differences[~np.isnan(first)]
    if differences.size == 0:
        raise ParityError(
            f"output {name} of shape {list(wanted.shape)} has no number to compare: give inputs "
            "with at least one nodule"
        )
    return Parity(
        name, differences.size, float(differences.max()), float(differences.mean()), tolerance
    )


def run_torch(
    graph: nn.Module, model: contract.Model, inputs: Sequence[npt.NDArray[np.generic]]
) -> Arrays:
    """Run a serving graph in PyTorch: outputs by name."""
    with torch.no_grad():
        outputs = graph.eval()(*(torch.from_numpy(array) for array in inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return {
        tensor.name: output.numpy() for tensor, output in zip(model.outputs, outputs, strict=True)
    }


def run_onnx(
    path: Path, model: contract.Model, inputs: Sequence[npt.NDArray[np.generic]]
) -> Arrays:
    """Run an ONNX file in ONNX Runtime on the CPU: outputs by name."""
    return run_session(open_session(path), model, inputs)


def open_session(network: Path | bytes, *, optimise: bool = True) -> Any:
    """An ONNX Runtime session on the CPU.

    Args:
        network: The ONNX file, or what it holds.
        optimise: Whether the runtime may rewrite the graph; if not, each node is computed as it
            stands, and what is dequantised is multiplied in FP32.
    """
    source = network if isinstance(network, bytes) else str(network)
    options = onnxruntime.SessionOptions()
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run_session(
    session: Any, model: contract.Model, inputs: Sequence[npt.NDArray[np.generic]]
) -> Arrays:
    """Run a session of `open_session`: outputs by name."""
    names = [tensor.name for tensor in model.outputs]
    feeds = {tensor.name: array for tensor, array in zip(model.inputs, inputs, strict=True)}
    return dict(zip(names, session.run(names, feeds), strict=True))


def check_parity(
    graph: nn.Module,
    path: Path,
    model: contract.Model,
    inputs: Sequence[npt.NDArray[np.generic]],
) -> list[Parity]:
    """Compare an exported file with its PyTorch graph.

    Args:
        graph: The serving graph, with the weights that the file holds.
        path: The ONNX file.
        model: Of the contract.
        inputs: One array for each of its inputs, batch axis first.

    Returns:
        The figures of each output.

    Raises:
        ParityError: An output is beyond its tolerance, or nothing was compared.
    """
    return check_file(run_torch(graph, model, inputs), path, model, inputs, reference="PyTorch")


def check_file(
    wanted: Arrays,
    path: Path,
    model: contract.Model,
    inputs: Sequence[npt.NDArray[np.generic]],
    reference: str,
) -> list[Parity]:
    """Compare an exported file with the answers of what it was made of.

    Args:
        wanted: These answers by the outputs' names.
        path: The ONNX file.
        model: Of the contract.
        inputs: One array for each of its inputs, batch axis first.
        reference: What gave the wanted answers, for the message.

    Returns:
        The figures of each output.

    Raises:
        ParityError: An output is beyond its tolerance, or nothing was compared.
    """
    tolerances = {tensor.name: TOLERANCES[tensor.name] for tensor in model.outputs}
    figures = compare(wanted, run_onnx(path, model, inputs), tolerances)
    broken = [parity for parity in figures if not parity.holds]
    if broken:
        raise ParityError(
            f"{path} differs from {reference}: "
            + "; ".join(
                f"{parity.output} by {parity.largest_difference:.3g}, at most "
                f"{parity.tolerance:.3g} allowed"
                for parity in broken
            )
            + ". Do not serve it; compare the graphs layer by layer"
        )
    return figures
