"""ResNet-18 against torchvision's names and against the network written out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from thyroid_training.published_weights import adapt_torchvision_resnet18, start_resnet18
from thyroid_training.resnet18 import ResNet18

WIDTHS = (64, 128, 256, 512)


def published_layout(*, counters: bool = True) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's `resnet18`, by rule."""
    names: dict[str, tuple[int, ...]] = {}

    def normalisation(prefix: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            names[f"{prefix}.{part}"] = (width,)
        if counters:
            names[f"{prefix}.num_batches_tracked"] = ()

    names["conv1.weight"] = (64, 3, 7, 7)
    normalisation("bn1", 64)
    inputs = 64
    for layer, width in enumerate(WIDTHS, start=1):
        for block in (0, 1):
            prefix = f"layer{layer}.{block}"
            names[f"{prefix}.conv1.weight"] = (width, inputs, 3, 3)
            normalisation(f"{prefix}.bn1", width)
            names[f"{prefix}.conv2.weight"] = (width, width, 3, 3)
            normalisation(f"{prefix}.bn2", width)
            if block == 0 and layer > 1:
                names[f"{prefix}.downsample.0.weight"] = (width, inputs, 1, 1)
                normalisation(f"{prefix}.downsample.1", width)
            inputs = width
    names |= {"fc.weight": (1000, 512), "fc.bias": (1000,)}
    return names


def published_weights(*, counters: bool = True) -> dict[str, Tensor]:
    """Weights of that layout: variances positive, scales as a trained network has them."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in published_layout(counters=counters).items():
        value = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            value = torch.tensor(7)
        elif name.endswith("running_var"):
            value = value.abs() + 0.5
        elif len(shape) == 4:
            value *= (2 / value[0].numel()) ** 0.5
        state[name] = value
    return state


def by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """He et al., table 1, 18 layers: the stages' feature maps, each by means of blocks."""

    def normalise(x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = F.conv2d(x, state["conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(normalise(x, "bn1").relu(), 3, 2, 1)
    maps = []
    for layer in range(1, 5):
        for block in (0, 1):
            name = f"layer{layer}.{block}"
            stride = 2 if block == 0 and layer > 1 else 1
            inner = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = normalise(inner, f"{name}.bn1").relu()
            inner = normalise(
                F.conv2d(inner, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2"
            )
            if stride == 2:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=2)
                x = normalise(x, f"{name}.downsample.1")
            x = (inner + x).relu()
        side = 2 ** (4 - layer)
        batch, channels, height, width = x.shape
        blocks = x.reshape(batch, channels, height // side, side, width // side, side)
        maps.append(blocks.mean(dim=(3, 5)))
    return torch.cat(maps, dim=1)


def test_names_and_shapes_are_torchvisions() -> None:
    layout = published_layout()
    assert len(layout) == 122
    layout |= {"conv1.weight": (64, 1, 7, 7), "fc.weight": (1, sum(WIDTHS)), "fc.bias": (1,)}
    found = {name: tuple(value.shape) for name, value in ResNet18().state_dict().items()}
    assert found == layout


def test_number_of_parameters() -> None:
    """torchvision's 11,689,512, less two colours of the stem and its classes; all stages read."""
    count = sum(parameter.numel() for parameter in ResNet18().parameters())
    assert count == 11_689_512 - 2 * 64 * 7 * 7 - 1000 * (512 + 1) + sum(WIDTHS) + 1


def test_published_weights_see_a_grey_picture_as_they_would_in_colour() -> None:
    published = published_weights()
    network = ResNet18().eval()
    missing, unexpected = network.load_state_dict(
        adapt_torchvision_resnet18(published), strict=False
    )
    assert (sorted(missing), unexpected) == (["fc.bias", "fc.weight"], [])
    grey = torch.randn(2, 1, 64, 96)
    with torch.no_grad():
        features = network.features(grey)
        wanted = by_hand(published, grey.expand(-1, 3, -1, -1))
    assert features.shape == (2, sum(WIDTHS), 2, 3)
    assert wanted.std() > 0.1
    assert torch.allclose(features, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_a_published_file_is_begun_with(tmp_path: Path) -> None:
    published, path = published_weights(), tmp_path / "resnet18.pth"
    torch.save(published, path)
    torch.manual_seed(6)
    started = start_resnet18(path).state_dict()
    torch.manual_seed(6)
    last = ResNet18().state_dict()  # drawn, since no published class is ours
    for name, value in started.items():
        if name.startswith("fc."):
            assert torch.equal(value, last[name])
        elif name == "conv1.weight":
            assert torch.allclose(value, published[name].sum(dim=1, keepdim=True))
        else:
            assert torch.equal(value, published[name]), name


def test_without_a_file_it_begins_with_nothing() -> None:
    torch.manual_seed(6)
    started = start_resnet18(None).state_dict()
    torch.manual_seed(6)
    assert all(torch.equal(started[name], v) for name, v in ResNet18().state_dict().items())


@pytest.mark.parametrize("name", ["conv1.weight", "layer3.1.bn2.running_var"])
def test_a_file_with_something_missing_is_refused(tmp_path: Path, name: str) -> None:
    published, path = published_weights(), tmp_path / "resnet18.pth"
    del published[name]
    torch.save(published, path)
    with pytest.raises(ValueError, match=f"resnet18.pth .* this ResNet18 .*{name}.*: give the"):
        start_resnet18(path)


def test_a_deeper_network_is_refused(tmp_path: Path) -> None:
    """ResNet-34 has all the names, and more."""
    path = tmp_path / "resnet34.pth"
    torch.save(published_weights() | {"layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"this ResNet18 \(layer1.2.conv1.weight\): give the file"):
        start_resnet18(path)


def test_old_published_files_without_counters_load() -> None:
    adapted = adapt_torchvision_resnet18(published_weights(counters=False))
    missing, unexpected = ResNet18().load_state_dict(adapted, strict=False)
    assert {name for name in missing if not name.endswith("num_batches_tracked")} == {
        "fc.weight",
        "fc.bias",
    }
    assert unexpected == []


def test_adapting_leaves_the_published_weights_as_they_were() -> None:
    published = published_weights()
    adapt_torchvision_resnet18(published)
    assert published["conv1.weight"].shape == (64, 3, 7, 7)
    assert "fc.weight" in published


def test_logit_is_the_mean_feature_through_the_linear_layer() -> None:
    torch.manual_seed(0)
    network = ResNet18().eval()
    x = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        mean = network.features(x).flatten(2).mean(dim=2)
        wanted = mean @ network.fc.weight.T + network.fc.bias
        assert torch.allclose(network(x), wanted, atol=1e-6)
