"""From the repository's FP32 networks to files in another precision, through a gate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import onnx

from thyroid_export.gate import Gate
from thyroid_export.layer_report import compare_layers, describe_layers
from thyroid_export.low_precision import LowPrecision, Written
from thyroid_export.mixed_parity import (
    Agreement,
    ImageSet,
    Inputs,
    classification_set,
    judge,
    phantom_regions,
    run_rows,
    segmentation_set,
)
from thyroid_export.parity import ParityError, open_session
from thyroid_export.parity_inputs import Frames, phantom_frames
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import MADE_OF_KEY, file_sha256, network_path
from thyroid_training.offline import read_cropper_parameters

PHANTOM_COUNT = 8


def report_path(network: Path) -> Path:
    """Where the figures of a file in another precision lie: beside it."""
    return network.with_name(f"{network.name}.json")


def export_mixed(
    repository: Path,
    out: Path,
    model: contract.Model,
    precision: LowPrecision,
    *,
    data: Frames | None = None,
    phantom_count: int = PHANTOM_COUNT,
) -> list[Agreement]:
    """Write a network of the repository in another precision, with its figures beside it.

    Args:
        repository: With the network in FP32; it is left as it is.
        out: A folder that is laid out as the repository; made if it does not exist.
        model: A network of the contract.
        precision: One of `LOW_PRECISIONS`.
        data: Real images to compare on, beside phantoms.
        phantom_count: Number of phantoms, at least 2.

    Returns:
        Its figures.

    Raises:
        ExportError: The network does not fit the precision.
        FileNotFoundError: Its FP32 file is missing.
        ParityError: It does not answer as in FP32. The file stays for a look, as
            *.candidate.onnx, with figures of every layer beside it.
        ValueError: `out` is the repository, where the FP32 file stands; or there is nothing to
            find ranges over.
    """
    source, target = network_path(repository, model.name), network_path(out, model.name)
    if source.resolve() == target.resolve():
        raise ValueError(
            f"--out {out} is the model repository, whose ONNX files stay FP32: they are what "
            "training and every other precision start from; name another folder"
        )
    if not source.is_file():
        raise FileNotFoundError(
            f"{source} does not exist: export it with `thyroid-export onnx --run FOLDER`"
        )
    written = precision.write(repository, model)
    made_of = file_sha256(source)
    written.network.metadata_props.add(key=MADE_OF_KEY, value=made_of)
    reference = onnx.load(source)
    written.network.producer_name = reference.producer_name
    candidate = target.with_suffix(".candidate.onnx")
    candidate.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(written.network, candidate)
    facts: dict[str, object] = {
        "precision": precision.name,
        "made_of_sha256": made_of,
        "sha256": file_sha256(candidate),
        "versions": {name: version(name) for name in ("onnx", "onnxscript", "onnxruntime")},
        **written.facts,
    }
    sets = _image_sets(repository, model, data, phantom_count)
    figures, refusal = _judge_sets(repository, model, written, precision.gate, sets)
    facts["agreement"] = [asdict(each) for each in figures]
    if refusal is None:
        _write(report_path(target), facts)
        candidate.replace(target)
        report_path(candidate).unlink(missing_ok=True)
        return figures
    reason, inputs = refusal
    layers = compare_layers(reference, written.network, written.runnable, model, inputs)
    report = report_path(candidate)
    _write(report, {**facts, "refused": reason, "layers": [asdict(each) for each in layers]})
    raise ParityError(
        f"{candidate} is not to be served: {reason}.\n"
        f"{describe_layers(layers, precision.departure)}\n"
        f"Every layer stands in {report}; take another --precision, or stay with FP32"
    )


def _image_sets(
    repository: Path, model: contract.Model, data: Frames | None, phantom_count: int
) -> list[ImageSet]:
    if model == contract.TRANSUNET:
        frames = [phantom_frames(phantom_count, seed=0), *([data] if data else [])]
        return [segmentation_set(each) for each in frames]
    regions = [classification_set(data, repository)] if data else []
    return [phantom_regions(phantom_count, seed=0), *regions]


def _judge_sets(
    repository: Path,
    model: contract.Model,
    written: Written,
    gate: Gate,
    sets: Sequence[ImageSet],
) -> tuple[list[Agreement], tuple[str, Inputs] | None]:
    """The figures of all sets; where they do not hold, why, and the image that shows it best."""
    parameters = read_cropper_parameters(repository)
    before = open_session(network_path(repository, model.name))
    after = open_session(written.runnable.SerializeToString(), optimise=written.optimise)
    figures: list[Agreement] = []
    for images in sets:
        wanted, got = (run_rows(session, model, images) for session in (before, after))
        try:
            found = judge(model, images, wanted, got, parameters, gate=gate)
        except ParityError as error:
            return figures, (str(error), images.rows()[0])
        figures += found
        if broken := [each for each in found if not each.holds]:
            reason = "; ".join(each.describe() for each in broken)
            return figures, (reason, images.rows()[broken[0].worst_row])
    return figures, None


def _write(path: Path, facts: Mapping[str, object]) -> None:
    """Write facts as JSON, which knows no infinity: null stands for it."""
    text = json.dumps(_finite(facts), indent=2, allow_nan=False)
    path.write_text(text + "\n")


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
