"""The files that av-benchmark (github.com/hkchengrex/av-benchmark) reads beside the sounds: captions and videos.

It compares a folder of original sounds with a folder of generated ones, `.flac` or `.wav`, by their names. Its text
features need a CSV file with the columns `name` and `caption`, its video features a folder of `.mp4` files with the
same names. The folders `sounds/original` and `sounds/<row>` of a table are such folders of sounds. In a subfolder
`cache` it keeps features of the sounds, as dictionaries by name; those of encoders that a table has used are written
there too.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.evaluation.encoders.selection import EncoderSet
from rewas_engine.evaluation.tables.clips import TableClip
from rewas_engine.evaluation.tables.features import FeatureReader
from rewas_engine.evaluation.tables.row_sources import Rendition
from rewas_engine.media.video import iter_frames, probe_video
from rewas_engine.runtime.atomic_files import atomic_path, write_text_atomic
from rewas_engine.runtime.progress import CancelSignal

CAPTIONS_FILE = "captions.csv"
VIDEOS_FOLDER = "videos"
FEATURES_FOLDER = "cache"
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


def write_features(
    folder: Path,
    clips: Sequence[TableClip],
    renditions: Sequence[Rendition],
    encoders: EncoderSet,
    reader: FeatureReader,
) -> list[Path]:
    """Write the features of the sounds in a folder: those of PANNs, VGGish and PaSST, as far as they are given.

    The features of CLAP, ImageBind and Synchformer depend on the checkpoints that av-benchmark downloads. It computes
    them itself.

    Returns:
        The files.

    Raises:
        OSError: A file cannot be written.
    """
    names, sounds = [clip.name for clip in clips], [each.sound for each in renditions]
    written: list[Path] = []

    def write(name: str, values: Iterable[object]) -> None:
        path = folder / FEATURES_FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as unfinished:
            torch.save(dict(zip(names, values, strict=True)), unfinished)
        written.append(path)

    if encoders.kind_for("fd") == "panns":
        panns = reader.sounds(encoders.for_sounds("fd"), sounds)
        write(
            "pann_features.pth",
            ({"2048": _tensor(each.embeddings[0]), "logits": _tensor(each.logits)} for each in panns),
        )
    if encoders.kind_for("fad") == "vggish":
        vggish = reader.sounds(encoders.for_sounds("fad"), sounds)
        write("vggish_features.pth", (_tensor(each.embeddings) for each in vggish))
    if encoders.kind_for("mkl") == "passt":
        passt = reader.sounds(encoders.for_sounds("mkl"), sounds)
        write("passt_features_embed.pth", (_tensor(each.embeddings[0]) for each in passt))
        write("passt_logits.pth", (_tensor(each.logits) for each in passt))
    return written


def _tensor(values: NDArray[np.floating] | None) -> torch.Tensor:
    assert values is not None
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def write_videos(
    clips: Sequence[TableClip],
    output: Path,
    report: Callable[[int, int], object] = lambda done, total: None,
    cancel: CancelSignal | None = None,
) -> Path:
    """Write the pictures of the measured parts, without sound. Files of the same parts that exist are kept.

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
        if not _is_part(clip, path):
            with atomic_path(path) as unfinished:
                _write_part(clip, unfinished, cancel)
    return folder


def _is_part(clip: TableClip, path: Path) -> bool:
    """Whether a file holds the measured part of the clip, and not that of another table or of an older video."""
    try:
        with av.open(str(path)) as container:
            return container.metadata.get("comment") == clip.key
    except (OSError, av.FFmpegError):
        return False


def _write_part(clip: TableClip, path: Path, cancel: CancelSignal | None) -> None:
    shown = probe_video(clip.video)
    # H.264 needs even sizes.
    width, height = (max(2, side // 2 * 2) for side in (shown.width, shown.height))
    rate = Fraction(shown.frame_rate).limit_denominator(100_000)
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["comment"] = clip.key
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
