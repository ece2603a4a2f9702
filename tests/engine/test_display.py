"""Frames as a viewer sees them: files with rotation, bars, fields and HDR give the same frames as their plain twins."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorTrc
from PIL import Image

from rewas_engine.media.display import SDR_GAMMA, SDR_WHITE_NITS
from rewas_engine.media.video import read_frames

WIDTH, HEIGHT, RATE = 128, 96, 25
COUNT = 25


def scene(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Luma [height, width]: a bright disc that moves over a gradient."""
    down, across = np.mgrid[:height, :width]
    luma = 60 + 60 * across / width + 40 * down / height
    disc = np.hypot(across - (20 + 3 * number), down - height / 3) < 12
    return np.where(disc, 220, luma).astype(np.uint8)


def write(
    path: Path,
    lumas: Sequence[np.ndarray],
    *,
    codec: str = "ffv1",
    rate: int = RATE,
    depth: int = 8,
    options: dict[str, str] | None = None,
    **properties: Any,
) -> Path:
    """Write luma planes [H, W] in limited range (or as given) with neutral colour."""
    height, width = lumas[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if depth == 8 else "yuv420p10le"
        for name, value in properties.items():
            setattr(stream.codec_context, name, value)
        for number, luma in enumerate(lumas):
            planes = [luma, *[np.full((height // 2, width // 2), 2 ** (depth - 1))] * 2]
            packed = np.concatenate([plane.reshape(-1) for plane in planes])
            shaped = packed.reshape(height * 3 // 2, width).astype(np.uint8 if depth == 8 else np.uint16)
            make = av.VideoFrame.from_ndarray if depth == 8 else _frame10
            frame = make(shaped, stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            for name, value in properties.items():
                if name in ("color_trc", "color_range", "colorspace"):
                    setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _frame10(shaped: np.ndarray, pix_fmt: str) -> Any:
    frame = av.VideoFrame(shaped.shape[1], shaped.shape[0] * 2 // 3, pix_fmt)
    start = 0
    flat = shaped.reshape(-1)
    for plane in frame.planes:
        rows = flat[start : start + plane.width * plane.height].reshape(plane.height, plane.width)
        held = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        held[:, : plane.width] = rows
        plane.update(held.tobytes())
        start += plane.width * plane.height
    return frame


def limited(luma: np.ndarray) -> np.ndarray:
    return np.round(16 + luma.astype(float) * 219 / 255)


def read(path: Path, width: int = 64, height: int = 48, **more: Any) -> np.ndarray:
    return read_frames(
        path,
        start_s=Fraction(0),
        duration_s=Fraction(COUNT, RATE),
        frame_rate=Fraction(RATE),
        width=width,
        height=height,
        **more,
    ).astype(float)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path = tmp_path_factory.mktemp("clips") / "plain.mkv"
    return read(write(path, [limited(scene(number)) for number in range(COUNT)]))


def test_limited_range_reaches_black_and_white(tmp_path: Path) -> None:
    path = write(tmp_path / "range.mkv", [limited(np.full((HEIGHT, WIDTH), level)) for level in (0, 128, 255)])
    assert read(path)[[0, 1, 2], 20, 20] == pytest.approx([0, 128, 255], abs=1)


@pytest.mark.parametrize("colorspace", [1, 5, 9])
def test_the_colour_matrix_does_not_change_the_luma(tmp_path: Path, plain: np.ndarray, colorspace: int) -> None:
    path = write(tmp_path / "tagged.mkv", [limited(scene(n)) for n in range(COUNT)], colorspace=colorspace)
    assert np.array_equal(read(path), plain)


def test_full_range_is_read_as_tagged(tmp_path: Path, plain: np.ndarray) -> None:
    path = write(tmp_path / "full.mkv", [scene(n) for n in range(COUNT)], color_range=2)
    np.testing.assert_allclose(read(path), plain, atol=1.5)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_rotated_clip_is_upright(tmp_path: Path, plain: np.ndarray, turns: int) -> None:
    stored = [limited(np.rot90(scene(n), -turns)) for n in range(COUNT)]
    path = write(tmp_path / "phone.mp4", stored, codec="libx264", options={"qp": "1"})
    set_rotation(path, turns)
    np.testing.assert_allclose(read(path), plain, atol=6)
    assert np.abs(read(path) - plain).mean() < 1


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photo_is_upright_in_each_exif_orientation_of_a_camera(orientation: int, suffix: str, tmp_path: Path) -> None:
    shown = np.full((48, 96), 30, np.uint8)
    shown[:16] = 220
    # How cameras store it.
    stored = {1: shown, 3: np.rot90(shown, 2), 6: np.rot90(shown, 1), 8: np.rot90(shown, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    frame = read(path, 96, 48)[0]
    assert frame[:8].mean() > 180
    assert frame[24:].mean() < 70


def test_a_damaged_rotation_is_ignored(tmp_path: Path, plain: np.ndarray) -> None:
    path = write(tmp_path / "odd.mp4", [limited(scene(n)) for n in range(COUNT)], codec="libx264", options={"qp": "1"})
    patch_matrix(path, (0.8, 0.6, -0.6, 0.8))
    assert np.abs(read(path) - plain).mean() < 1


@pytest.mark.parametrize(("down", "across"), [(24, 0), (0, 32), (12, 16)])
def test_black_bars_are_cropped(tmp_path: Path, plain: np.ndarray, down: int, across: int) -> None:
    barred = [np.pad(limited(scene(n)), ((down, down), (across, across)), constant_values=16) for n in range(COUNT)]
    path = write(tmp_path / "bars.mkv", barred)
    np.testing.assert_allclose(read(path), plain, atol=1)


def test_a_dark_scene_is_not_cropped(tmp_path: Path) -> None:
    night = np.zeros((HEIGHT, WIDTH))
    night[40:44, 60:64] = 255
    assert np.abs(read(write(tmp_path / "night.mkv", [limited(night)] * COUNT))[0]).argmax() // 64 in range(18, 24)
    black = read(write(tmp_path / "black.mkv", [limited(np.zeros((HEIGHT, WIDTH)))] * COUNT))
    assert not black.any()


def test_bars_over_part_of_a_clip_are_kept(tmp_path: Path) -> None:
    barred = [np.pad(limited(scene(n))[24:-24], ((24, 24), (0, 0)), constant_values=16) for n in range(12)]
    path = write(tmp_path / "some.mkv", [*barred, *(limited(scene(n)) for n in range(12, COUNT))], options={"g": "1"})
    assert read(path)[0][:10].max() < 5


def test_fields_are_deinterlaced(tmp_path: Path, plain: np.ndarray) -> None:
    """Each frame holds two fields, half a frame apart."""

    def moving(half_frames: float) -> np.ndarray:
        down, across = np.mgrid[:HEIGHT, :WIDTH]
        return np.where(np.hypot(across - (20 + 3 * half_frames / 2), down - HEIGHT / 2) < 12, 220, 80)

    woven = []
    steady: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for number in range(COUNT):
        frame = moving(2 * number).copy()
        frame[1::2] = moving(2 * number + 1)[1::2]
        woven.append(limited(frame))
        for field, frames in enumerate(steady):
            frames.append(limited(moving(2 * number + field)))
    interlaced = write(tmp_path / "fields.mp4", woven, codec="libx264", options={"qp": "1", "x264-params": "tff=1"})
    with av.open(str(interlaced)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    found, combed = read(interlaced, 128, 96), read(write(tmp_path / "combed.mkv", woven), 128, 96)
    # The encoder decides which field comes first, and so which moment a frame shows.
    errors = []
    for field, frames in enumerate(steady):
        wanted = read(write(tmp_path / f"field{field}.mkv", frames), 128, 96)
        errors.append((np.abs(found - wanted).mean(), np.abs(combed - wanted).mean()))
    own, ignored = min(errors)
    assert own < 0.75 * ignored


def pq(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(nits: np.ndarray) -> np.ndarray:
    scene_light = (nits / 1000) ** (1 / 1.2)
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(
        scene_light <= 1 / 12, np.sqrt(3 * scene_light), a * np.log(np.maximum(12 * scene_light - b, 1e-9)) + c
    )


@pytest.mark.parametrize(("transfer", "encode"), [(ColorTrc.SMPTE2084, pq), (ColorTrc.ARIB_STD_B67, hlg)])
def test_an_hdr_clip_looks_like_its_standard_twin(tmp_path: Path, plain: np.ndarray, transfer: int, encode) -> None:
    lumas = []
    for number in range(COUNT):
        nits = SDR_WHITE_NITS * (scene(number).astype(float) / 255) ** SDR_GAMMA
        lumas.append(np.round(64 + 876 * encode(nits)))
    path = write(tmp_path / "hdr.mkv", lumas, depth=10, color_trc=int(transfer))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).color_trc == transfer
    # Scaling mixes encoded values, so that edges differ a little.
    assert np.abs(read(path) - plain).mean() < 1
    assert np.quantile(np.abs(read(path) - plain), 0.99) < 3
    assert read(path, rgb=True).shape == (COUNT, 48, 64, 3)


def set_rotation(path: Path, turns: int) -> None:
    """Write the display matrix that turns a file counterclockwise by quarter turns."""
    patch_matrix(path, {0: (1, 0, 0, 1), 1: (0, -1, 1, 0), 2: (-1, 0, 0, -1), 3: (0, 1, -1, 0)}[turns])


def patch_matrix(path: Path, matrix: tuple[float, float, float, float]) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(value * 65536) for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def test_a_slow_clip_changes_smoothly_and_a_slide_show_in_steps(tmp_path: Path) -> None:
    levels = np.arange(60, 160, 20)
    stills = [limited(np.full((HEIGHT, WIDTH), level)) for level in levels]
    slow = read(write(tmp_path / "slow.mkv", stills, rate=5))[:, 20, 20]
    # Until the last still, brightness rises by a fifth of 20 levels with each frame.
    np.testing.assert_allclose(np.diff(slow[:20]), 4, atol=1.5)
    slides = read(write(tmp_path / "slides.mkv", stills, rate=2))[:, 20, 20]
    assert set(np.round(slides)) <= {level + off for level in (60, 80, 100) for off in (-1, 0, 1)}
