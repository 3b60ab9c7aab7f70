"""The sector: all of the tissue, and nothing of what is printed around it."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pictures import encode
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.sector import Sector, cut_sector, find_sector
from thyroid_training.phantoms import Phantom, make_phantom

SEEDS = range(16)
WORD = "TIRADS 4C (4C)"
random = np.random.default_rng(30)


def on_image(sector: Sector, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(shape, np.bool_)
    rows = slice(sector.y_px, sector.y_px + sector.height_px)
    inside[rows, sector.x_px : sector.x_px + sector.width_px] = sector.inside
    return inside


def tissue_of(phantom: Phantom) -> NDArray[np.bool_]:
    x, y, width, height = phantom.sector_box
    tissue = np.zeros(phantom.image.shape, np.bool_)
    tissue[y : y + height, x : x + width] = True
    return tissue


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    data = encode(Image.fromarray(image), "JPEG", quality=quality)
    with Image.open(io.BytesIO(data)) as decoded:
        return np.asarray(decoded)


# --- phantoms, whose sector is known


@pytest.mark.parametrize("seed", SEEDS)
def test_the_box_is_the_phantoms_own(seed: int) -> None:
    phantom = make_phantom(seed, text=WORD)
    x, y, width, height = phantom.sector_box
    sector = find_sector(phantom.image)
    assert abs(sector.x_px - x) <= 2
    assert abs(sector.y_px - y) <= 2
    assert abs(sector.x_px + sector.width_px - x - width) <= 2
    # The lowest rows may be as black as the surround.
    assert -0.05 * height <= sector.y_px + sector.height_px - y - height <= 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tissue_is_kept_and_nothing_else(seed: int) -> None:
    phantom = make_phantom(seed, text=WORD)
    inside, tissue = on_image(find_sector(phantom.image), phantom.image.shape), tissue_of(phantom)
    light = phantom.image.astype(np.float64)
    assert light[inside & tissue].sum() / light[tissue].sum() >= 0.995
    assert inside[phantom.mask].all()
    assert not phantom.image[inside & ~tissue].any()


@pytest.mark.parametrize(
    ("height", "width", "seed"),
    [
        *((360, 560, seed) for seed in SEEDS),
        *((600, 480, seed) for seed in range(0, 6, 2)),
        *((768, 1024, seed) for seed in range(1, 6, 2)),
    ],
)
def test_what_is_printed_changes_no_byte_of_the_frame(height: int, width: int, seed: int) -> None:
    frames = []
    for text, console in ((WORD, True), (None, True), (None, False)):
        phantom = make_phantom(seed, height_px=height, width_px=width, text=text, console=console)
        frame, geometry = make_frame(encode(Image.fromarray(phantom.image)))
        frames.append((frame.tobytes(), geometry))
    assert all(frame == frames[0] for frame in frames)


@pytest.mark.parametrize("seed", range(4))
def test_a_frame_without_surround_keeps_everything(seed: int) -> None:
    phantom = make_phantom(seed, console=False)
    x, y, width, height = phantom.sector_box
    # The upper part: the deepest tissue may be black.
    tissue = np.ascontiguousarray(phantom.image[y : y + 3 * height // 4, x : x + width])
    sector = find_sector(tissue)
    assert (sector.x_px, sector.y_px) == (0, 0)
    assert (sector.height_px, sector.width_px) == tissue.shape
    assert sector.inside.all()
    assert np.array_equal(cut_sector(tissue, sector), tissue)


# --- text close to the tissue


def with_words(
    phantom: Phantom, where: str, gap: int, *, bold: bool = False, inverse: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The phantom's tissue with words `gap` pixels off, and where the words are."""
    x, y, width, height = phantom.sector_box
    room = 110
    image = np.zeros([side + 2 * room for side in phantom.image.shape], np.uint8)
    x, y = x + room, y + room
    font, scale, thickness = cv2.FONT_HERSHEY_SIMPLEX, 0.5, 2 if bold else 1
    # Write, see how far it reaches, and move it there.
    page = np.zeros((60, 130), np.uint8)
    if inverse:
        cv2.rectangle(page, (10, 10), (110, 35), (255,), cv2.FILLED)
    cv2.putText(
        page, WORD[:9], (16, 30), font, scale, (0 if inverse else 255,), thickness, cv2.LINE_AA
    )
    left, top, words, lines = cv2.boundingRect(page)
    page = page[top : top + lines, left : left + words]
    row, column = {
        "below": (y + height + gap, x + 20),
        "above": (y - gap - lines, x + 20),
        "right": (y + height // 2, x + width + gap),
        "corner": (y + height + gap, x + width - words // 2),
    }[where]
    image[row : row + lines, column : column + words] = page
    printed = image > 0
    image[y : y + height, x : x + width] = phantom.image[y - room :, x - room :][:height, :width]
    return image, printed


@pytest.mark.parametrize("where", ["below", "above", "right", "corner"])
@pytest.mark.parametrize("gap", [3, 5, 8, 20])
@pytest.mark.parametrize("style", ["plain", "bold", "inverse"])
@pytest.mark.parametrize("quality", [None, 75])
def test_words_beside_the_tissue_stay_out(
    where: str, gap: int, style: str, quality: int | None
) -> None:
    for seed in (0, 6):
        phantom = make_phantom(seed, console=False)
        image, printed = with_words(
            phantom, where, gap, bold=style == "bold", inverse=style == "inverse"
        )
        seen = image if quality is None else jpeg(image, quality)
        inside = on_image(find_sector(seen), image.shape)
        assert not (inside & printed).any()
        light = image.astype(np.float64) * ~printed
        assert light[inside].sum() / light.sum() >= 0.995


def test_a_bright_reflector_in_dark_tissue_is_no_printing() -> None:
    """Islands of light are left out only where that costs the sector little."""
    image = np.zeros((360, 560), np.uint8)
    tissue = np.zeros_like(image)
    tissue[20:300, 100:460] = random.integers(9, 21, (280, 360))
    tissue[30:40, 110:450] = 90  # the skin, the one large bright region
    for row in range(60, 300, 24):
        for column in range(110, 450, 24):
            tissue[row : row + 12, column : column + 12] = 200
    image[:] = tissue
    inside = on_image(find_sector(image), image.shape)
    assert inside[20:300, 100:460].mean() >= 0.995


# --- other shapes and other frames


def fan(height: int = 400, width: int = 560) -> NDArray[np.bool_]:
    """The picture of a curved probe: a ring's piece, 70 degrees wide."""
    rows, columns = np.indices((height, width))
    x, y = columns - width / 2, rows + 150.0
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(x, y))
    inside: NDArray[np.bool_] = (radius > 180) & (radius < 500) & (np.abs(angle) < 35)
    return inside


def test_what_lies_in_the_corners_beside_a_fan_is_blanked() -> None:
    inside = fan()
    image = np.where(inside, random.integers(30, 200, inside.shape), 0).astype(np.uint8)
    printed = np.zeros_like(image)
    for left, baseline in ((10, 30), (430, 30), (5, 390), (430, 390)):
        cv2.putText(printed, "TIRADS 5", (left, baseline), 0, 0.6, (255,), 2)
    assert not (inside & (printed > 0)).any()
    sector = find_sector(np.maximum(image, printed))
    found = on_image(sector, image.shape)
    assert found[inside].mean() >= 0.995
    assert not (found & (printed > 0)).any()
    cut = cut_sector(np.maximum(image, printed), sector)
    assert not cut[-1, :60].any()
    assert not cut[-1, -60:].any()
    assert np.array_equal(cut > 0, sector.inside & (cut > 0))


def test_two_views_side_by_side_are_one_sector() -> None:
    image = np.zeros((360, 560), np.uint8)
    image[20:260, 40:270] = random.integers(20, 220, (240, 230))
    image[60:180, 290:420] = random.integers(20, 220, (120, 130))  # less than a third of the first
    sector = find_sector(image)
    assert (sector.x_px, sector.y_px) == (40, 20)
    assert (sector.width_px, sector.height_px) == (380, 240)


def test_words_under_the_shorter_of_two_views_stay_out() -> None:
    image = np.zeros((360, 560), np.uint8)
    image[20:300, 40:270] = random.integers(20, 220, (280, 230))
    image[20:200, 290:520] = random.integers(20, 220, (180, 230))
    views = image > 0
    cv2.putText(image, "TIRADS 4C", (290, 228), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,), 2)
    sector = find_sector(image)
    assert (sector.x_px, sector.y_px, sector.width_px, sector.height_px) == (40, 20, 480, 280)
    inside = on_image(sector, image.shape)
    assert not (image > 0)[inside & ~views].any()
    assert inside[views].mean() >= 0.995


def test_a_grey_scale_bar_is_no_view() -> None:
    image = np.zeros((360, 560), np.uint8)
    image[20:300, 100:450] = random.integers(20, 220, (280, 350))
    image[60:280, 500:525] = np.linspace(255, 0, 220, dtype=np.uint8)[:, None]
    sector = find_sector(image)
    assert (sector.x_px, sector.y_px, sector.width_px, sector.height_px) == (100, 20, 350, 280)


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_a_dark_frame_keeps_its_tissue(share: float) -> None:
    phantom = make_phantom(1, console=False)
    dark = (phantom.image * share).astype(np.uint8)
    inside = on_image(find_sector(dark), dark.shape)
    light = dark.astype(np.float64)
    assert light[inside].sum() / light.sum() >= 0.99
    assert inside[phantom.mask].all()


@pytest.mark.parametrize("value", [0, 3, 128, 255])
def test_a_uniform_picture_is_refused(value: int) -> None:
    with pytest.raises(
        ImageError,
        match=f"every pixel of the image is {value}: there is no ultrasound in it; check the "
        "export, then send the frame",
    ):
        find_sector(np.full((200, 300), value, np.uint8))


def nearly_black() -> NDArray[np.uint8]:
    return random.integers(0, 8, (200, 300), np.uint8)


def a_line_of_text() -> NDArray[np.uint8]:
    page = np.zeros((200, 300), np.uint8)
    cv2.putText(page, "no picture", (40, 100), 0, 1, (255,), 1)
    return page


def a_small_patch() -> NDArray[np.uint8]:
    page = np.zeros((200, 300), np.uint8)
    page[90:120, 90:130] = 90
    return page


@pytest.mark.parametrize("image", [nearly_black(), a_line_of_text(), a_small_patch()])
def test_too_little_echo_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(
        ImageError,
        match=r"only [0-2]\.\d% of the image is tissue echo \(grey value of 8 or more, dense\), at "
        "least 3% were wanted: check that it is an ultrasound frame and not nearly black",
    ):
        find_sector(image)
