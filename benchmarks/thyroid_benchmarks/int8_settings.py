"""The ways of quantising that are tried on each network."""

from __future__ import annotations

from thyroid_export.int8_graph import Scope
from thyroid_export.int8_quantise import INT8, INT8_SYMMETRIC, Setting
from thyroid_pipeline import contract

SETTINGS = {
    contract.TRANSUNET: (
        Setting(Scope.ALL),
        Setting(Scope.ALL, weight_bits=7),
        Setting(Scope.INNER),
        Setting(Scope.WIDE),
    ),
    contract.RESNET18: (
        Setting(Scope.ALL),
        INT8,
        Setting(Scope.INNER),
        INT8_SYMMETRIC,
    ),
}
# By network and setting: its name among the precisions of `thyroid-export onnx`.
OFFERED = {
    (contract.RESNET18, INT8): "int8",
    (contract.RESNET18, INT8_SYMMETRIC): "int8-symmetric",
}
