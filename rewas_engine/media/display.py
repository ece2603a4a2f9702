"""Decoded frames as a viewer sees them: upright, without bars, progressive, and in standard dynamic range."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorTrc
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]

SDR_WHITE_NITS = 203.0
"""Luminance, in nits (cd/m²), to which SDR white is mapped in an HDR programme (ITU-R BT.2408)."""
HLG_PEAK_NITS = 1000.0
SDR_GAMMA = 2.4
"""Gamma of a reference display (ITU-R BT.1886)."""
_KNEE = 0.9
"""Share of SDR white above which highlights are compressed."""
_BLACK_LEVEL, _CONTENT_LEVEL = 20, 40
"""Luma, 0 to 255: a bar is at most the first level, and the picture next to it reaches the second."""
_BLACK_SHARE = 0.99
_MIN_BAR, _MAX_BAR = 0.02, 0.4
"""Smallest and largest bar, as a share of the frame's height or width. A larger black area is a dark picture."""
_MAX_UNEVENNESS = 0.02
"""Largest difference between two opposite bars, as a share of the frame's height or width."""


@dataclass(frozen=True)
class ActiveArea:
    """The part of a frame that holds the picture, without letterbox or pillarbox bars, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, frame: Any) -> ActiveArea:
        """The whole area of a frame."""
        return cls(0, 0, frame.width, frame.height)


def find_active_area(samples: Sequence[Any]) -> ActiveArea:
    """Find the part of a clip inside black bars.

    Bars are black in all samples, come in pairs of equal size at opposite edges, and end in a sharp edge.

    Args:
        samples: Decoded frames of the same size from different times of the clip, at least one.
    """
    lumas = [to_luma(frame, frame.width, frame.height) for frame in samples if _same_size(frame, samples[0])]
    top, height = _inside_bars(lumas)
    left, width = _inside_bars([luma.T for luma in lumas])
    return ActiveArea(left, top, width, height)


def _same_size(frame: Any, other: Any) -> bool:
    return bool(frame.width == other.width and frame.height == other.height)


def _line_levels(lumas: Sequence[NDArray[np.uint8]], part: slice) -> FloatArray:
    """Level of each line in a part of several frames `[lines, pixels]`: nearly its brightest pixel in any of them."""
    return np.asarray(np.stack([np.quantile(luma[part], _BLACK_SHARE, axis=1) for luma in lumas]).max(axis=0))


def _inside_bars(lumas: Sequence[NDArray[np.uint8]]) -> tuple[int, int]:
    """First line and number of lines of `[lines, pixels]` inside a pair of bars; all lines without such a pair."""
    lines = len(lumas[0])
    # Most clips have no bars, and two lines show that much faster than all of them.
    if _line_levels(lumas, slice(None, None, max(1, lines - 1))).max() > _BLACK_LEVEL:
        return 0, lines
    levels = _line_levels(lumas, slice(None))
    picture = np.flatnonzero(levels > _BLACK_LEVEL)
    if not picture.size:
        return 0, lines
    first, last = int(picture[0]), int(picture[-1])
    before, after = first, lines - 1 - last
    is_pair = abs(before - after) <= max(2, _MAX_UNEVENNESS * lines) and min(before, after) >= _MIN_BAR * lines
    # A line may be half bar and half picture, so the edge lies within three lines.
    is_sharp = (
        levels[first : first + 3].max() >= _CONTENT_LEVEL
        and levels[max(0, last - 2) : last + 1].max() >= _CONTENT_LEVEL
    )
    if not is_pair or not is_sharp or max(before, after) > _MAX_BAR * lines:
        return 0, lines
    # Chroma planes have half the size, so bars are cropped by an even number of lines.
    first += first % 2
    return first, (last + 1 - first) // 2 * 2


def prepare_frames(frames: Iterable[Any], area: ActiveArea) -> Iterator[Any]:
    """Deinterlace frames that are interlaced, and crop all frames to an area.

    Args:
        frames: Decoded frames in order.
        area: The active area. Frames that it does not fit into are not cropped.
    """
    graph: _FilterGraph | None = None
    for frame in frames:
        if graph is None or not graph.accepts(frame):
            if graph is not None:
                yield from graph.flush()
            graph = _FilterGraph(frame, area)
        yield from graph.process(frame)
    if graph is not None:
        yield from graph.flush()


class _FilterGraph:
    """FFmpeg filters for frames of one format; frames that need none pass unchanged."""

    def __init__(self, first: Any, area: ActiveArea) -> None:
        self._format = _format(first)
        self._time_base = first.time_base
        filters = ["bwdif=mode=send_frame:deint=interlaced"] if first.interlaced_frame else []
        fits = area.left + area.width <= first.width and area.top + area.height <= first.height
        if fits and area != ActiveArea.of(first):
            filters.append(f"crop={area.width}:{area.height}:{area.left}:{area.top}:exact=1")
        self._graph: Any = None
        if filters:
            self._graph = av.filter.Graph()
            nodes = [
                self._graph.add_buffer(
                    width=first.width, height=first.height, format=first.format, time_base=first.time_base
                )
            ]
            for text in filters:
                name, _, arguments = text.partition("=")
                nodes.append(self._graph.add(name, arguments))
            nodes.append(self._graph.add("buffersink"))
            for node, following in itertools.pairwise(nodes):
                node.link_to(following)
            self._graph.configure()

    def accepts(self, frame: Any) -> bool:
        """Whether a frame has the format of the others."""
        return _format(frame) == self._format

    def process(self, frame: Any) -> Iterator[Any]:
        if self._graph is None:
            yield frame
            return
        self._graph.push(frame)
        yield from self._pull()

    def flush(self) -> Iterator[Any]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()

    def _pull(self) -> Iterator[Any]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            if frame.time_base != self._time_base:
                frame.pts = round(frame.pts * frame.time_base / self._time_base)
                frame.time_base = self._time_base
            yield frame


def _format(frame: Any) -> tuple[Any, ...]:
    return frame.format.name, frame.width, frame.height, bool(frame.interlaced_frame)


def quarter_turns(frame: Any) -> int:
    """Number of counterclockwise quarter turns, 0 to 3, that make a frame upright.

    A rotation that is not a multiple of 90 degrees is an error or an effect, so the frame is left as it is.
    """
    turns = round(frame.rotation / 90)
    return turns % 4 if abs(frame.rotation - 90 * turns) <= 1 else 0


def to_luma(frame: Any, width: int, height: int) -> NDArray[np.uint8]:
    """Scale a frame to luma `[height, width]`, from 0 (black) to 255 (white), in standard dynamic range."""
    is_hdr = _is_hdr(frame)
    # Luma needs no colour matrix. Naming the same one on both sides keeps its rounding independent of the tags.
    scaled = frame.reformat(
        width, height, "gray16le" if is_hdr else "gray", src_colorspace="ITU601", dst_colorspace="ITU601",
        interpolation="AREA",
    )  # fmt: skip
    values: NDArray[Any] = scaled.to_ndarray()
    return _to_standard_range(values, frame.color_trc) if is_hdr else values


def to_rgb(frame: Any, width: int, height: int) -> NDArray[np.uint8]:
    """Scale a frame to RGB `[height, width, 3]`, 0 to 255, in standard dynamic range."""
    is_hdr = _is_hdr(frame)
    values: NDArray[Any] = frame.reformat(
        width, height, "rgb48le" if is_hdr else "rgb24", interpolation="AREA"
    ).to_ndarray()
    return _to_standard_range(values, frame.color_trc) if is_hdr else values


def _is_hdr(frame: Any) -> bool:
    return frame.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def _to_standard_range(signal: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Convert an HDR signal of any shape, 0 to 65535, to a standard one, 0 to 255."""
    share = signal.astype(np.float64) / 65535
    nits = _pq_nits(share) if transfer == ColorTrc.SMPTE2084 else _hlg_nits(share)
    linear = nits / SDR_WHITE_NITS
    compressed = _KNEE + (1 - _KNEE) * (1 - np.exp(-(linear - _KNEE) / (1 - _KNEE)))
    displayed = np.where(linear <= _KNEE, linear, compressed)
    return np.asarray(np.round(255 * displayed ** (1 / SDR_GAMMA)), np.uint8)


def _pq_nits(signal: FloatArray) -> FloatArray:
    """Luminance of a PQ signal, 0 to 1, in nits (SMPTE ST 2084, equation 4.1)."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = signal ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def _hlg_nits(signal: FloatArray) -> FloatArray:
    """Luminance of an HLG signal, 0 to 1, on a display of HLG_PEAK_NITS (ITU-R BT.2100, table 5)."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(HLG_PEAK_NITS * scene**1.2)
