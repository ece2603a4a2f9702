"""The files that av-benchmark (github.com/hkchengrex/av-benchmark) reads beside the sounds: captions and videos.

It compares a folder of original sounds with a folder of generated ones, `.flac` or `.wav`, by their names. Its text
features need a CSV file with the columns `name` and `caption`, its video features a folder of `.mp4` files with the
same names. The folders `sounds/original` and `sounds/<row>` of a table are such folders of sounds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av

from rewas_engine.evaluation.tables.clips import TableClip
from rewas_engine.media.video import iter_frames, probe_video
from rewas_engine.runtime.atomic_files import atomic_path, write_text_atomic
from rewas_engine.runtime.progress import CancelSignal

CAPTIONS_FILE = "captions.csv"
VIDEOS_FOLDER = "videos"
_CRF = 18


def write_captions(clips: Sequence[TableClip], output: Path) -> Path:
    """Write the prompts of the clips that have one. Raises OSError."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("name", "caption"))
    writer.writerows((clip.name, clip.prompt) for clip in clips if clip.prompt)
    path = output / CAPTIONS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(path, lines.getvalue())
    return path


def write_videos(
    clips: Sequence[TableClip],
    output: Path,
    report: Callable[[int, int], object] = lambda done, total: None,
    cancel: CancelSignal | None = None,
) -> Path:
    """Write the pictures of the measured parts, without sound. Files that exist are kept.

    Raises:
        MediaError: A video cannot be read.
        OSError: A file cannot be written.
        Cancelled: The work was cancelled.
    """
    folder = output / VIDEOS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(clips):
        report(number, len(clips))
        path = folder / f"{clip.name}.mp4"
        if not path.is_file():
            with atomic_path(path) as unfinished:
                _write_part(clip, unfinished, cancel)
    return folder


def _write_part(clip: TableClip, path: Path, cancel: CancelSignal | None) -> None:
    shown = probe_video(clip.video)
    # H.264 needs even sizes.
    width, height = (max(2, side // 2 * 2) for side in (shown.width, shown.height))
    rate = Fraction(shown.frame_rate).limit_denominator(100_000)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(_CRF), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        frames = iter_frames(
            clip.video,
            start_s=clip.start_s,
            duration_s=clip.duration_s,
            frame_rate=rate,
            width=width,
            height=height,
            rgb=True,
            cancel=cancel,
        )
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
