"""Weight standardisation against its formula, and folding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from thyroid_training.encoder import ResNetEncoder, StandardisedConv2d, fold_standardisation
from thyroid_training.transunet_config import PAPER, TransUNetConfig


def standardise(kernels: NDArray[np.float32]) -> NDArray[np.float64]:
    """(w - mean) / sqrt(variance + 1e-5), over each output channel's kernel, arXiv 1903.10520."""
    flat = kernels.astype(np.float64).reshape(len(kernels), -1)
    flat = (flat - flat.mean(axis=1, keepdims=True)) / np.sqrt(
        flat.var(axis=1, keepdims=True) + 1e-5
    )
    return np.asarray(flat.reshape(kernels.shape))


@pytest.fixture(scope="module")
def small_group_config() -> TransUNetConfig:
    return dataclasses.replace(
        PAPER, stem_width=32, stage_widths=(128, 128, 128), stage_depths=(1, 1, 1)
    )


def test_convolves_with_standardised_kernels() -> None:
    torch.manual_seed(0)
    convolution = StandardisedConv2d(3, 8, 3, 2, 1)
    with torch.no_grad():
        convolution.weight += 0.7  # a mean to be taken away
        convolution.weight[0] *= 1e-3  # and a kernel so small that the epsilon counts
    x = torch.randn(2, 3, 9, 9)
    kernels = torch.from_numpy(standardise(convolution.weight.detach().numpy()))
    bias = convolution.bias
    assert bias is not None
    wanted = F.conv2d(x.double(), kernels, bias.detach().double(), 2, 1)
    assert torch.allclose(convolution(x).double(), wanted, atol=1e-5)


def test_folding_leaves_the_answer_and_is_done_once() -> None:
    torch.manual_seed(0)
    convolution = StandardisedConv2d(4, 6, 3, padding=1, bias=False)
    with torch.no_grad():
        convolution.weight *= 0.01  # a second standardisation would show
    raw = convolution.weight.detach().numpy().copy()
    x = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        before = convolution(x)
        convolution.fold()
        once = convolution.weight.clone()
        assert torch.equal(convolution(x), F.conv2d(x, once, padding=1))
        convolution.fold()
        assert torch.allclose(convolution(x), before, atol=1e-5)
    assert torch.equal(convolution.weight, once)
    assert np.allclose(once.numpy(), standardise(raw), atol=1e-6)
    assert not np.allclose(standardise(once.numpy()), once.numpy(), rtol=1e-2)


def test_folding_a_network_leaves_its_answer(small_group_config: TransUNetConfig) -> None:
    torch.manual_seed(0)
    encoder = ResNetEncoder(small_group_config).eval()
    kinds = [module for module in encoder.modules() if isinstance(module, StandardisedConv2d)]
    # Stem; in each stage three convolutions and, where its shape changes, a shortcut.
    assert len(kinds) == 1 + (3 + 1) + (3 + 1) + (3 + 1)
    names = list(encoder.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = encoder(x)
        fold_standardisation(encoder)
        after = encoder(x)
        fold_standardisation(encoder)
        again = encoder(x)
    assert list(encoder.state_dict()) == names
    assert all(module.folded for module in kinds)
    for one, two, three in zip(before, after, again, strict=True):
        assert torch.allclose(one, two, atol=1e-4)
        assert torch.equal(two, three)


def test_pool_pads_to_the_right_as_the_published_weights_want(
    small_group_config: TransUNetConfig,
) -> None:
    """Windows of three at 0, 2, 4 ...: the first pixel is seen by the first window alone."""
    encoder = ResNetEncoder(small_group_config).eval()
    half = torch.zeros(1, 32, 16, 16)
    half[..., 0, 0], half[..., 15, 15] = 5, 7
    seen: list[torch.Tensor] = []
    encoder.stem = torch.nn.Identity()  # type: ignore[assignment]
    encoder.stages[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        encoder(half)
    wanted = torch.zeros(8, 8)
    wanted[0, 0], wanted[7, 7] = 5, 7
    assert torch.equal(seen[0][0, 0], wanted)
    half[..., 2, 2] = 9
    with torch.no_grad():
        encoder(half)
    wanted[0:2, 0:2] = 9
    assert torch.equal(seen[1][0, 0], wanted)
