"""The cropper on phantoms whose nodule is known: what a perfect network's map becomes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pictures import encode
from thyroid_pipeline import contract
from thyroid_pipeline.contract import CropperParameters
from thyroid_pipeline.crop import Crop, crop_nodule, nodule_on_frame
from thyroid_pipeline.echo import measure_echo
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.letterbox import Geometry, letterbox
from thyroid_pipeline.mask_png import decode_mask
from thyroid_pipeline.morphology import measure_shape
from thyroid_pipeline.roi import cut_roi
from thyroid_training.phantoms import Phantom, PhantomTraits, make_phantom

PARAMETERS = CropperParameters()
STEP = contract.FRAME_SIDE_PX // contract.MAP_SIDE_PX
SHAPE_FIELDS = [field.name for field in dataclasses.fields(measure_shape(np.ones((1, 1), bool)))]
TRAITS = PhantomTraits(
    nodule=True,
    echogenicity="hypoechoic",
    margin="smooth",
    taller_than_wide=False,
    calcifications="none",
)


def perfect_map(mask: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.uint8]:
    """What a network that is always right would say of a mask on the image."""
    rows = slice(geometry.sector_y_px, geometry.sector_y_px + geometry.sector_height_px)
    columns = slice(geometry.sector_x_px, geometry.sector_x_px + geometry.sector_width_px)
    on_frame = letterbox(np.where(mask[rows, columns], np.uint8(255), np.uint8(0)), geometry)
    side = contract.MAP_SIDE_PX
    pooled: NDArray[np.float64] = on_frame.reshape(side, STEP, side, STEP).mean(axis=(1, 3))
    return np.rint(pooled).astype(np.uint8)


def crop_of(phantom: Phantom) -> tuple[Crop, NDArray[np.uint8], Geometry]:
    frame, geometry = make_frame(encode(Image.fromarray(phantom.image)))
    crop = crop_nodule(frame, perfect_map(phantom.mask, geometry), geometry, PARAMETERS)
    return crop, frame, geometry


def typed_as_in_the_contract(crop: Crop) -> None:
    for tensor in contract.ROI_CROPPER.outputs:
        value = getattr(crop, tensor.name)
        if tensor.data_type is contract.DataType.BYTES:
            assert isinstance(value, bytes)
        else:
            array = np.asarray(value)
            assert array.dtype == tensor.data_type.numpy, tensor.name
            assert array.size == np.prod(tensor.shape), tensor.name


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [(360, 560), (720, 960)])
def test_the_phantoms_nodule_comes_back(seed: int, size: tuple[int, int]) -> None:
    phantom = make_phantom(seed, TRAITS, height_px=size[0], width_px=size[1])
    crop, frame, geometry = crop_of(phantom)
    typed_as_in_the_contract(crop)
    assert crop.nodule_found is True
    mask = decode_mask(crop.mask)
    assert mask.shape == phantom.mask.shape
    assert 2 * (mask & phantom.mask).sum() / (mask.sum() + phantom.mask.sum()) > 0.95

    rows, columns = np.nonzero(mask)
    x, y = columns.min(), rows.min()
    box = (int(x), int(y), int(columns.max() - x + 1), int(rows.max() - y + 1))
    assert tuple(crop.box) == box
    assert np.array_equal(crop.roi, cut_roi(frame, box, geometry, PARAMETERS.margin_share))

    # Figures of shape are those of the mask that is sent, and near those of the truth.
    figures = dict(zip(contract.MORPHOLOGY_FIELDS, crop.morphology, strict=True))
    sent, true = measure_shape(mask), measure_shape(phantom.mask)
    for name in SHAPE_FIELDS:
        assert figures[name] == pytest.approx(getattr(sent, name), rel=1e-6)
    for name in ("area_px2", "equivalent_diameter_px", "height_to_width", "major_axis_px"):
        assert figures[name] == pytest.approx(getattr(true, name), rel=0.06)
    # Of a hypoechoic nodule in brighter tissue.
    assert 0 < figures["echo_ratio"] < 1
    assert np.isfinite(crop.morphology).all()


def test_where_nothing_is_found_everything_is_empty() -> None:
    phantom = make_phantom(2, dataclasses.replace(TRAITS, nodule=False))
    crop, _, geometry = crop_of(phantom)
    typed_as_in_the_contract(crop)
    assert crop.nodule_found is False
    assert not crop.roi.any()
    assert crop.box.tolist() == [0, 0, 0, 0]
    mask = decode_mask(crop.mask)
    assert mask.shape == (geometry.image_height_px, geometry.image_width_px)
    assert not mask.any()
    assert np.isnan(crop.morphology).all()


def test_the_largest_of_two_is_measured_and_both_are_in_the_mask() -> None:
    phantom = make_phantom(5, TRAITS, console=False)
    frame, geometry = make_frame(encode(Image.fromarray(phantom.image)))
    x, y, width, height = phantom.sector_box
    rows, columns = np.indices(phantom.image.shape)
    large = (columns - x - width * 0.3) ** 2 + (rows - y - height * 0.5) ** 2 < 45**2
    small = (columns - x - width * 0.75) ** 2 + (rows - y - height * 0.5) ** 2 < 25**2
    crop = crop_nodule(frame, perfect_map(large | small, geometry), geometry, PARAMETERS)
    mask = decode_mask(crop.mask)
    assert mask[small].mean() > 0.95
    assert mask[large].mean() > 0.95
    assert crop.morphology[0] == pytest.approx(large.sum(), rel=0.04)
    assert crop.box[2:].tolist() == pytest.approx([89, 89], abs=3)
    echo = measure_echo(frame, nodule_on_frame(mask & (columns < x + width * 0.55), geometry))
    figures = dict(zip(contract.MORPHOLOGY_FIELDS, crop.morphology, strict=True))
    for name, value in dataclasses.asdict(echo).items():
        assert figures[name] == pytest.approx(value, rel=1e-6)


def test_the_parameters_reach_what_they_are_for() -> None:
    phantom = make_phantom(1, TRAITS)
    frame, geometry = make_frame(encode(Image.fromarray(phantom.image)))
    unsure = np.minimum(perfect_map(phantom.mask, geometry), np.uint8(127))
    assert not crop_nodule(frame, unsure, geometry, PARAMETERS).nodule_found
    lower = crop_nodule(frame, unsure, geometry, CropperParameters(threshold=0.25))
    assert lower.nodule_found
    wider = crop_nodule(frame, unsure, geometry, CropperParameters(0.25, 0.002, 0.9))
    assert not np.array_equal(wider.roi, lower.roi)
    picky = CropperParameters(threshold=0.25, minimum_area_share=0.9)
    assert not crop_nodule(frame, unsure, geometry, picky).nodule_found


@pytest.mark.parametrize("size", [(360, 560), (300, 300), (900, 1200)])
def test_a_mask_on_the_frame_covers_as_much_of_it(size: tuple[int, int]) -> None:
    phantom = make_phantom(3, TRAITS, height_px=size[0], width_px=size[1], console=False)
    _, geometry = make_frame(encode(Image.fromarray(phantom.image)))
    on_frame = nodule_on_frame(phantom.mask, geometry)
    assert on_frame.shape == contract.FRAME.shape[1:]
    scale = geometry.scale_x * geometry.scale_y
    assert on_frame.sum() == pytest.approx(phantom.mask.sum() * scale, rel=0.02)
    centre = [float(axis.mean()) + 0.5 for axis in np.nonzero(phantom.mask)[::-1]]
    moved = [float(axis.mean()) + 0.5 for axis in np.nonzero(on_frame)[::-1]]
    assert moved == pytest.approx(geometry.to_frame(*centre), abs=0.6)


def test_a_nodule_thinner_than_a_pixel_of_the_frame_has_no_echo() -> None:
    side = contract.FRAME_SIDE_PX
    geometry = Geometry(2000, 2000, 0, 0, 2000, 2000, 0, 0, side, side)
    nodule = np.zeros((2000, 2000), np.bool_)
    nodule[1000, 500:900] = True
    assert not nodule_on_frame(nodule, geometry).any()
