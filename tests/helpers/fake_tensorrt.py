"""TensorRT's Python module as far as its names go: what its bindings have not, this has not.

The names, numbers and parameters are those of a real version, from `tensorrt_names.json`. What the
library would do is left to `answers`.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from thyroid_pipeline import plan_logger

Names = dict[str, Any]
# By version.
NAMES: dict[str, Names] = json.loads(
    (Path(__file__).parents[1] / "export" / "tensorrt_names.json").read_text()
)


class _Convertible:
    """As pybind11 makes the members of enumerations: no integers, but convertible into some."""

    value: int

    def __int__(self) -> int:
        return int(self.value)


class FakeTensorRT(types.ModuleType):
    """One version.

    Attributes:
        calls: Every call of a method, in order: class, method, arguments.
        settings: Every attribute that was set: by class and name.
        answers: What a method returns, by class and name; without one, None.
    """

    def __init__(self, version: str, names: Names) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.calls: list[tuple[str, str, tuple[Any, ...]]] = []
        self.settings: dict[tuple[str, str], Any] = {}
        self.answers: dict[tuple[str, str], Callable[..., Any]] = {}
        for name, members in names.items():
            if all(isinstance(value, int) for value in members.values()):
                setattr(self, name, Enum(name, members, type=_Convertible))
            else:
                setattr(self, name, _make_class(self, name, members))
        for name, severity in self.Severity.__members__.items():
            setattr(self.ILogger, name, severity)

    def arguments_of(self, cls: str, method: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of a method."""
        return [arguments for *name, arguments in self.calls if name == [cls, method]]


def _nothing(*_: Any) -> None:
    pass


def _make_class(trt: FakeTensorRT, class_name: str, members: dict[str, Any]) -> type[Any]:
    def check(method: str, arguments: tuple[Any, ...]) -> None:
        counts = [
            range(sum(not name.endswith("=") for name in names), len(names) + 1)
            for names in members[method]
        ]
        if counts and not any(len(arguments) in count for count in counts):
            raise TypeError(f"{class_name}.{method} takes {members[method]}, not {arguments}")

    def answer_of(name: str) -> Callable[..., Any]:
        return trt.answers.get((class_name, name), _nothing)

    def initialise(self: Any, *arguments: Any) -> None:
        check("__init__", arguments)
        trt.calls.append((class_name, "__init__", arguments))
        answer_of("__init__")(*arguments)

    def get(self: Any, name: str) -> Any:
        if name not in members:
            raise AttributeError(f"TensorRT {trt.__version__}: {class_name} has no {name}")
        answer = answer_of(name)
        if members[name] is None:
            return trt.settings.get((class_name, name), answer())

        def call(*arguments: Any) -> Any:
            check(name, arguments)
            trt.calls.append((class_name, name, arguments))
            return answer(*arguments)

        return call

    def put(self: Any, name: str, value: Any) -> None:
        if type(self) is not cls:  # a subclass of the code under test has attributes of its own
            object.__setattr__(self, name, value)
            return
        if name not in members or members[name] is not None:
            raise AttributeError(f"TensorRT {trt.__version__}: {class_name} has no {name} to set")
        trt.settings[class_name, name] = value

    body: dict[str, Any] = {"__init__": initialise, "__getattr__": get, "__setattr__": put}
    cls: type[Any] = type(class_name, (), body)
    return cls


def give(value: Any) -> Callable[..., Any]:
    """A function that gives a value, whatever it is asked."""
    return lambda *_: value


def make_library(version: str) -> FakeTensorRT:
    """A version that builds whatever it is given, and shows its progress."""
    trt = FakeTensorRT(version, NAMES[version])

    def build(network: Any, config: Any) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        monitor.phase_start("Tactics", "Building", 1)
        went_on = monitor.step_complete("Tactics", 0) and monitor.step_complete("Building", 1)
        monitor.phase_finish("Tactics")
        monitor.phase_finish("Building")
        return b"a plan" if went_on else None

    trt.answers = {
        ("Builder", "create_network"): give(trt.INetworkDefinition()),
        ("Builder", "create_builder_config"): give(trt.IBuilderConfig()),
        ("Builder", "create_optimization_profile"): give(trt.IOptimizationProfile()),
        ("Builder", "build_serialized_network"): build,
        ("OnnxParser", "parse_from_file"): give(True),
        ("IBuilderConfig", "create_timing_cache"): give(trt.ITimingCache()),
        ("IBuilderConfig", "set_timing_cache"): give(True),
        ("ITimingCache", "serialize"): give(b"timings"),
        ("Runtime", "deserialize_cuda_engine"): give(object()),
    }
    trt.calls.clear()  # the making of these answers
    return trt


def say(severity: str, text: str) -> Callable[[FakeTensorRT], None]:
    """A function that lets a library log a message."""

    def speak(trt: FakeTensorRT) -> None:
        plan_logger.logger_of(trt).log(trt.Severity[severity], text)

    return speak
