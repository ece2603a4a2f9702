"""What encoders say about the sounds, texts and pictures of clips, kept in the cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import MediaError
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.encoders.protocols import (
    Encoder,
    FrameVectorEncoder,
    SoundEncoder,
    SoundFeatures,
    SoundVectorEncoder,
    TextVectorEncoder,
    VideoEncoder,
)
from rewas_engine.evaluation.tables.cache import Arrays, ResultCache
from rewas_engine.evaluation.tables.clips import TableClip, file_sha256
from rewas_engine.evaluation.tables.row_sources import Rendition
from rewas_engine.media.audio import read_audio_file
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.video_format import VideoFormat

_SOUNDS_AT_ONCE = 8


class FeatureReader:
    """Reads features from the cache, or computes them.

    Args:
        cache: Keeps the features.
        watch: For progress and cancellation.
    """

    def __init__(self, cache: ResultCache, watch: Watch) -> None:
        self._cache, self._watch = cache, watch

    def sounds(self, encoder: SoundEncoder, paths: Sequence[Path]) -> list[SoundFeatures]:
        """Features of the sounds in FLAC files."""

        def describe(sounds: list[FloatArray], rate_hz: int) -> list[Arrays]:
            return [
                {"embeddings": each.embeddings} | ({} if each.logits is None else {"logits": each.logits})
                for each in encoder.describe_sounds(sounds, rate_hz)
            ]

        found = self._of_sounds("described", encoder, paths, describe)
        return [SoundFeatures(each["embeddings"], each.get("logits")) for each in found]

    def sound_vectors(self, encoder: SoundVectorEncoder, paths: Sequence[Path]) -> FloatArray:
        """Unit vectors [N, D] of the sounds in FLAC files."""

        def embed(sounds: list[FloatArray], rate_hz: int) -> list[Arrays]:
            return [{"vector": vector} for vector in encoder.embed_sounds(sounds, rate_hz)]

        return np.stack([each["vector"] for each in self._of_sounds("embedded", encoder, paths, embed)])

    def text_vectors(self, encoder: TextVectorEncoder, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [N, D] of texts."""
        keys = [["text", encoder.content_sha256, text] for text in texts]
        report = self._reporter("Embedding texts", keys)

        def embed(places: Sequence[int]) -> list[Arrays]:
            report(places)
            return [{"vector": encoder.embed_texts([texts[place]])[0]} for place in places]

        return np.stack([each["vector"] for each in self._cache.arrays(keys, embed) if each is not None])

    def frame_vectors(
        self, encoder: FrameVectorEncoder, clips: Sequence[TableClip], renditions: Sequence[Rendition]
    ) -> list[FloatArray | None]:
        """Unit vectors [T, D] of the frames of each clip; None for pictures that cannot be read."""

        def embed(video: VideoClip) -> FloatArray:
            return encoder.embed_frames(encoder.frame_format.read(video))

        return self._of_videos("frames", encoder, encoder.frame_format, clips, renditions, embed)

    def videos(
        self, encoder: VideoEncoder, clips: Sequence[TableClip], renditions: Sequence[Rendition]
    ) -> list[FloatArray | None]:
        """Features [D] of the video of each clip; None for pictures that cannot be read."""

        def describe(video: VideoClip) -> FloatArray:
            return encoder.describe_video(encoder.video_format.read(video))

        return self._of_videos("video", encoder, encoder.video_format, clips, renditions, describe)

    def _of_sounds(
        self,
        kind: str,
        encoder: Encoder,
        paths: Sequence[Path],
        describe: Callable[[list[FloatArray], int], list[Arrays]],
    ) -> list[Arrays]:
        keys = [[kind, encoder.content_sha256, file_sha256(path)] for path in paths]
        report = self._reporter(f"Sounds, {encoder.name}", keys)

        def make(places: Sequence[int]) -> list[Arrays]:
            report(places)
            read = [read_mono(paths[place]) for place in places]
            made: dict[int, Arrays] = {}
            for rate_hz in {rate_hz for _, rate_hz in read}:
                own = [number for number, (_, other_hz) in enumerate(read) if other_hz == rate_hz]
                made |= zip(own, describe([read[number][0] for number in own], rate_hz), strict=True)
            return [made[number] for number in range(len(read))]

        return [each for each in self._cache.arrays(keys, make, _SOUNDS_AT_ONCE) if each is not None]

    def _of_videos(
        self,
        kind: str,
        encoder: Encoder,
        video_format: VideoFormat,
        clips: Sequence[TableClip],
        renditions: Sequence[Rendition],
        describe: Callable[[VideoClip], FloatArray],
    ) -> list[FloatArray | None]:
        keys = [[kind, encoder.content_sha256, str(video_format), each.video_key] for each in renditions]
        report = self._reporter(f"Pictures, {encoder.name}", keys)

        def make(places: Sequence[int]) -> list[Arrays | None]:
            report(places)
            return [
                unless_unreadable(functools.partial(describe, shown_part(clips[place], renditions[place])))
                for place in places
            ]

        return [None if each is None else each["features"] for each in self._cache.arrays(keys, make)]

    def _reporter(self, what: str, keys: Sequence[Any]) -> Callable[[Sequence[int]], None]:
        return lambda places: self._watch.report(what, places[0], len(keys))


def unless_unreadable(compute: Callable[[], NDArray[np.floating]]) -> Arrays | None:
    """Features that are computed from a file; None if it cannot be read, so that the other clips are still measured."""
    try:
        return {"features": compute()}
    except MediaError:
        return None


def read_mono(path: Path) -> tuple[FloatArray, int]:
    """Read a FLAC file of the cache: waveform [samples] and its rate in Hz. Raises MediaError."""
    channels, rate_hz = read_audio_file(path)
    return channels[0], rate_hz


def shown_part(clip: TableClip, rendition: Rendition) -> VideoClip:
    """The measured part of a row's video for a clip."""
    return VideoClip(rendition.video, start=rendition.video_start_s, duration=clip.duration_s)
