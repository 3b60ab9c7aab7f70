"""The package as its users meet it: names, import cost, the tree of errors, the twins."""

from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys
from types import ModuleType

import pytest

import thyroid_client
from thyroid_client import AsyncThyroidClient, ThyroidClient, errors
from thyroid_client.errors import ThyroidClientError
from thyroid_client.screening import Morphology
from thyroid_pipeline import contract


def all_errors() -> set[type[ThyroidClientError]]:
    found = {ThyroidClientError}
    while True:
        more = {sub for known in found for sub in known.__subclasses__()} - found
        if not more:
            return found
        found |= more


def test_all_is_exactly_the_public_names() -> None:
    public = {
        name
        for name, value in vars(thyroid_client).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(thyroid_client.__all__) == public
    assert len(thyroid_client.__all__) == len(public)


def test_every_error_is_public() -> None:
    assert {error.__name__ for error in all_errors()} <= set(thyroid_client.__all__)


@pytest.mark.parametrize("module", ["thyroid_client", "thyroid_client.cli"])
def test_import_stays_light(module: str) -> None:
    heavy = "{'cv2', 'torch', 'onnxruntime', 'onnx', 'tritonclient.http', 'grpc'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_drawn_tree_is_the_real_one() -> None:
    assert errors.__doc__ is not None
    drawn = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"    (?P<stem>[│├└─ ]*)(?P<name>[A-Z]\w+)(?P<rest>  .*)?$", line)
        if match:
            depth = len(match["stem"]) // 4
            path = [*path[:depth], match["name"]]
            parent = path[-2] if depth else None
            drawn[match["name"]] = (parent, "(retried)" in (match["rest"] or ""))
    real = {
        error.__name__: (
            error.mro()[1].__name__ if error is not ThyroidClientError else None,
            error.retriable,
        )
        for error in all_errors()
    }
    assert drawn == real


@pytest.mark.parametrize("error", sorted(all_errors(), key=str))
def test_errors_survive_pickling(error: type[ThyroidClientError]) -> None:
    raised = error("what came", status="INTERNAL", details="detail")
    raised.attempts = 3
    copy = pickle.loads(pickle.dumps(raised))
    assert type(copy) is error
    assert (str(copy), copy.status, copy.details, copy.attempts) == (
        "what came",
        "INTERNAL",
        "detail",
        3,
    )


def test_twins_have_the_same_methods_and_parameters() -> None:
    def interface(client: type) -> dict[str, list[tuple[str, object]]]:
        return {
            name: [
                (parameter.name, parameter.default)
                for parameter in inspect.signature(member).parameters.values()
            ]
            for name, member in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert interface(ThyroidClient) == interface(AsyncThyroidClient)


def test_morphology_has_exactly_the_figures_of_the_contract() -> None:
    values = tuple(float(i) for i in range(len(contract.MORPHOLOGY_FIELDS)))
    morphology = Morphology(values)
    assert dict(morphology) == dict(zip(contract.MORPHOLOGY_FIELDS, values, strict=True))
    for name, value in zip(contract.MORPHOLOGY_FIELDS, values, strict=True):
        assert getattr(morphology, name) == morphology[name] == value
        assert f"{name}=" in repr(morphology)
        assert name in dir(morphology)
    assert not hasattr(morphology, "volume_ml")
    with pytest.raises(KeyError, match="volume_ml"):
        morphology["volume_ml"]
    assert pickle.loads(pickle.dumps(morphology)) == morphology
    with pytest.raises(AttributeError):
        morphology.figures = ()  # type: ignore[misc]


def test_morphology_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 figures came, the contract has \d+"):
        Morphology((1.0, 2.0))
