"""The precisions that a network is written in beside FP32: how, for whom, and held to what."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx

from thyroid_export.gate import HALF_GATE, INT8_GATE, Gate
from thyroid_export.half_arithmetic import widen
from thyroid_export.int8_quantise import INT8, INT8_SYMMETRIC, Setting, fold, quantise
from thyroid_export.int8_ranges import range_inputs, range_phantoms
from thyroid_export.mixed_precision import Precision, mix_precision
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import network_path

# A node departs where its relative error is beyond so many roundings: about what a network of
# fifty layers gathers where nothing goes wrong.
_ROUNDINGS = 16
# About twice what any node of ResNet-18 gathers, where steps are of the greatest number's size and
# most numbers are far smaller.
_INT8_DEPARTURE = 0.125


@dataclass(frozen=True)
class Written:
    """A network in another precision.

    Attributes:
        network: What the file shall hold.
        runnable: What answers as that does where it is served, computed on this machine.
        optimise: Whether ONNX Runtime may rewrite `runnable`, as it does where it is served by it.
        facts: What is told of the file beside its agreement.
    """

    network: onnx.ModelProto
    runnable: onnx.ModelProto
    optimise: bool = True
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LowPrecision:
    """A precision other than FP32.

    Attributes:
        name: On the command line.
        gate: What its answers are held to.
        networks: Those that are written where none is named.
        departure: The relative error beyond which a node is said to depart.
        write: Takes a repository and one of its networks, which it leaves as they are.
    """

    name: str
    gate: Gate
    networks: tuple[contract.Model, ...]
    departure: float
    write: Callable[[Path, contract.Model], Written]


def _write_half(precision: Precision, repository: Path, model: contract.Model) -> Written:
    mixed = mix_precision(onnx.load(network_path(repository, model.name)), precision)
    return Written(mixed, widen(mixed))


def _write_int8(setting: Setting, repository: Path, model: contract.Model) -> Written:
    phantoms = range_phantoms()
    images = range_inputs(model, [phantoms], repository)
    source = network_path(repository, model.name)
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        fold(source, folded)
        made = quantise(folded, model, setting, images, Path(folder) / "int8.onnx")
        network = onnx.load(made.path)
    # The quantiser's own notes, and the domains of all its operators, used or not.
    del network.metadata_props[:]
    network.metadata_props.extend(onnx.load(source).metadata_props)
    domains = {node.domain for node in network.graph.node}
    opsets = [each for each in network.opset_import if each.domain in domains]
    del network.opset_import[:]
    network.opset_import.extend(opsets)
    onnx.checker.check_model(network, full_check=True)
    facts = {
        "convolutions": made.convolutions,
        "all_convolutions": made.all_convolutions,
        "numbers": setting.numbers,
        "ranges": f"{len(images.inputs[0])} {images.source} of {len(phantoms.frames)} phantoms",
    }
    # A plan adds the products without a loss, which a processor's older instructions do not.
    return Written(network, network, optimise=not setting.is_symmetric, facts=facts)


def _half(precision: Precision) -> LowPrecision:
    return LowPrecision(
        precision.value,
        HALF_GATE,
        contract.NETWORKS,
        _ROUNDINGS * precision.roundoff,
        partial(_write_half, precision),
    )


def _int8(name: str, setting: Setting) -> LowPrecision:
    # TransUNet passes in neither: whoever names it learns by how much it departs.
    return LowPrecision(
        name, INT8_GATE, (contract.RESNET18,), _INT8_DEPARTURE, partial(_write_int8, setting)
    )


LOW_PRECISIONS = {
    each.name: each
    for each in (
        *map(_half, Precision),
        _int8("int8", INT8),
        _int8("int8-symmetric", INT8_SYMMETRIC),
    )
}
