"""Writes `tensorrt_names.json`: what TensorRT's Python bindings call things, version by version.

The tests hold the engine builder against these names, since neither TensorRT's libraries nor the
GPU that they want are there. The bindings' wheels, 1 MB each, are fetched so:

    for version in 10.13.3.9.post1 10.16.1.11 11.4.0.106; do
        pip download --no-deps --dest wheels tensorrt-cu12-bindings==$version
    done
    python tests/export/write_tensorrt_names.py wheels/*.whl

The Python that runs this must be the one that the wheels are for. They link to libraries that they
do not bring; stubs of those, compiled by `cc`, let the bindings be imported and asked for their
names. Nothing of TensorRT is run.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NAMES_FILE = Path(__file__).with_name("tensorrt_names.json")
# What the builder touches. More is not wanted: the file is to be read.
CLASSES = (
    "Builder",
    "BuilderFlag",
    "DataType",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "Runtime",
)
# Entry points that the bindings link to; a stub may return null, for none is called.
ENTRY_POINTS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")

# Runs beside the stubs, in a process of its own for each version: argv names the classes.
READER = r"""
import json, re, sys
import tensorrt_bindings as trt

def parameters(text):
    depth, parts = 0, [""]
    for letter in text:
        depth += letter in "([{"
        depth -= letter in ")]}"
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    names = [part.split(":")[0].split("=")[0].strip() + "=" * ("=" in part) for part in parts]
    return [name for name in names if name not in ("", "self")]

def overloads(method, name):
    signatures = re.findall(rf"^(?:\d+\. )?{name}\((.*)\) -> ", method.__doc__ or "", re.MULTILINE)
    return [parameters(signature) for signature in signatures if not signature.startswith("*args")]

names = {}
for class_name in sys.argv[1:]:
    cls = getattr(trt, class_name)
    if hasattr(cls, "__members__"):
        names[class_name] = {name: int(member) for name, member in cls.__members__.items()}
        continue
    members = {}
    for name in dir(cls):
        if name.startswith("_") and name != "__init__":
            continue
        member = getattr(cls, name)
        members[name] = overloads(member, name) if callable(member) else None
    names[class_name] = dict(sorted(members.items()))
severity = trt.ILogger.Severity
names["Severity"] = {name: int(member) for name, member in severity.__members__.items()}
print(json.dumps({"version": trt.__version__, "names": names}))
"""


def read_names(wheel: Path) -> tuple[str, dict[str, object]]:
    """The version of a bindings wheel, and its names by class."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        bindings = Path(folder) / "tensorrt_bindings"
        major = re.search(rb"libnvinfer\.so\.(\d+)", (bindings / "tensorrt.so").read_bytes())
        assert major is not None, f"{wheel} links to no libnvinfer"
        source = Path(folder) / "stub.c"
        source.write_text("\n".join(f"void *{name}(void) {{ return 0; }}" for name in ENTRY_POINTS))
        for library in LIBRARIES:
            name = f"{library}.so.{major[1].decode()}"
            command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, source.name]
            subprocess.run(command, cwd=folder, check=True)
        answer = subprocess.run(
            [sys.executable, "-c", READER, *CLASSES],
            env={"PYTHONPATH": folder, "LD_LIBRARY_PATH": folder},
            check=True,
            capture_output=True,
            text=True,
        )
    read = json.loads(answer.stdout)
    return read["version"], read["names"]


def main() -> None:
    names = dict(read_names(Path(wheel)) for wheel in sys.argv[1:])
    text = json.dumps(dict(sorted(names.items())), indent=1)
    # One line for a list of parameters.
    text = re.sub(r"\[\s+((?:[^\[\]{}])*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    NAMES_FILE.write_text(text + "\n")
    print(f"{NAMES_FILE}: {', '.join(names)}")


if __name__ == "__main__":
    main()
