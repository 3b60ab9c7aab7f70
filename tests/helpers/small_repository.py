"""A model repository whose networks run in milliseconds and find something in most frames."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from small_recipes import make_small
from thyroid_export.export_onnx import write_onnx
from thyroid_export.parity_inputs import parity_inputs
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import network_path
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph, SegmentationGraph, normalise
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import SIZES


def make_repository(folder: Path, shipped: Path) -> Path:
    """Copy the shipped repository, but for its two networks, which are tiny and drawn at random."""
    shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns("__pycache__"))
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        segmentation, classification = TransUNet(SIZES["compact"]), ResNet18()
        for network, last in ((segmentation, "head"), (classification, "fc")):
            _enliven(network, last)
        for graph, model in (
            (SegmentationGraph(segmentation), contract.TRANSUNET),
            (ClassificationGraph(classification), contract.RESNET18),
        ):
            path = network_path(folder, model.name)
            path.unlink()
            write_onnx(graph.eval(), path)
    return folder


def _enliven(network: nn.Module, last: str) -> None:
    """Let statistics of batches be those of phantoms, and answers have some spread."""
    (frames,) = parity_inputs(contract.TRANSUNET, 4, seed=100)
    side_px = SIZES["compact"].image_size
    pictures = normalise(functional.interpolate(torch.from_numpy(frames).float(), side_px))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network.train()(pictures)
        answer = network.eval()(pictures)
        network.get_parameter(f"{last}.weight").mul_(2 / answer.std())
        network.get_parameter(f"{last}.bias").sub_(answer.mean() * 2 / answer.std())
