"""Every column of a table: from the originals and the renditions of a row to one value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.onsets import detect_onsets
from rewas_engine.errors import PackError
from rewas_engine.evaluation.av_align import av_align, motion_peaks
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.distances import (
    UndefinedMeasureError,
    cosines,
    frechet_distance,
    inception_score,
    is_underdetermined,
    kernel_distance,
    kl_divergences,
)
from rewas_engine.evaluation.encoders.protocols import Encoder, SoundFeatures
from rewas_engine.evaluation.encoders.selection import EncoderSet, Measure
from rewas_engine.evaluation.greatest_hits import compare_sounds
from rewas_engine.evaluation.tables.cache import Arrays, ResultCache
from rewas_engine.evaluation.tables.clips import TableClip, file_sha256
from rewas_engine.evaluation.tables.features import FeatureReader, read_mono, unless_unreadable
from rewas_engine.evaluation.tables.presets import Column
from rewas_engine.evaluation.tables.row_sources import Rendition
from rewas_engine.media.audio import resample
from rewas_engine.media.video import read_frames
from rewas_engine.training.corpus import world_front_end

MOTION_RATE = Fraction(25)
MOTION_SIZE = (64, 64)
"""Frames per second, and width and height of the frames in which motion is measured, for AV-Align."""
_VERSION = 2
"""Raised when the measures without encoders change."""


@dataclass(frozen=True)
class Cell:
    """A measured value.

    Attributes:
        value: As printed; None if it is not defined, with the reason in the note.
        clips: Number of clips that it was measured on.
        note: A remark, as a clause.
        by_clip: The values of the clips that it is the mean of; empty for measures of a whole set.
    """

    value: float | None
    clips: int = 0
    note: str = ""
    by_clip: Mapping[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float | None:
        """Half of the 95 % interval of the mean over the clips; None without values of clips."""
        values = np.array(list(self.by_clip.values()))
        return float(1.96 * values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None


@dataclass(frozen=True)
class RowClips:
    """The clips that a row has, with the original and the row's rendition of each."""

    clips: Sequence[TableClip]
    originals: Sequence[Rendition]
    renditions: Sequence[Rendition]

    def with_prompts(self) -> RowClips:
        """Only the clips with a prompt."""
        places = [place for place, clip in enumerate(self.clips) if clip.prompt]
        return RowClips(
            [self.clips[place] for place in places],
            [self.originals[place] for place in places],
            [self.renditions[place] for place in places],
        )


class TableMeasures:
    """Measures columns.

    Args:
        encoders: Compute the features of sounds, texts and pictures.
        cache: Keeps the results of clips.
        watch: For progress and cancellation.
    """

    def __init__(self, encoders: EncoderSet, cache: ResultCache, watch: Watch) -> None:
        self._encoders, self._cache, self._watch = encoders, cache, watch
        self._reader = FeatureReader(cache, watch)
        self._front_end = world_front_end()
        self._unavailable: dict[str, str] = {}
        self._measures: Mapping[str, Callable[[RowClips, Column], Cell]] = {
            "fd": self._distance_of_sounds,
            "fad": self._distance_of_sounds,
            "mkl": self._divergence,
            "is": self._inception,
            "clap": self._text_sound,
            "energy_mae": self._energy_error,
            "av_align": self._alignment,
            "onset_acc": self._onset_accuracy,
            "onset_ap": self._onset_precision,
            "fvd": self._distance_of_videos,
            "kvd": self._distance_of_videos,
            "clipsim": self._text_picture,
            "avhscore": self._picture_sound,
        }

    def measure(self, column: Column, row: RowClips) -> Cell:
        """Measure a column of a row. Raises Cancelled."""
        if column.key in self._unavailable:
            return Cell(None, note=self._unavailable[column.key])
        chosen = row.with_prompts() if column.needs_prompt else row
        if not chosen.clips:
            return Cell(None, note="no clip has a prompt" if row.clips else "no clips")
        try:
            return self._measures[column.key](chosen, column)
        except UndefinedMeasureError as error:
            return Cell(None, len(chosen.clips), error.what.removesuffix("."))

    def load_encoders(self, columns: Sequence[Column]) -> dict[str, tuple[Encoder, str | None]]:
        """Load the encoders of columns, and return them by column with their kinds; None is a built-in one.

        A column is not measured if its encoder is not given and the pack has nothing that could replace it.

        Raises:
            PackError: An encoder that is given cannot be loaded.
        """
        found: dict[str, tuple[Encoder, str | None]] = {}
        for column in columns:
            if column.needs_encoder:
                kind = self._encoders.kind_for(cast(Measure, column.key))
                try:
                    found[column.key] = self._encoder_of(column), kind
                except PackError as error:
                    if kind is not None:
                        raise
                    self._unavailable[column.key] = f"not measured: {error.what[0].lower()}{error.what[1:-1]}"
        return found

    def _encoder_of(self, column: Column) -> Encoder:
        by_measure: Mapping[str, Callable[[], Encoder]] = {
            "clap": lambda: self._encoders.text_sound,
            "clipsim": lambda: self._encoders.text_frames,
            "avhscore": lambda: self._encoders.frame_sound,
            "fvd": lambda: self._encoders.video,
            "kvd": lambda: self._encoders.video,
        }
        find = by_measure.get(column.key)
        return find() if find is not None else self._encoders.for_sounds(_sound_measure(column))

    def _distance_of_sounds(self, row: RowClips, column: Column) -> Cell:
        real = _finite_parts(self._sounds(column, row.originals))
        made = _finite_parts(self._sounds(column, row.renditions))
        return _distance(
            np.concatenate(real), np.concatenate(made), frechet_distance, column, len(made), len(row.clips)
        )

    def _divergence(self, row: RowClips, column: Column) -> Cell:
        real, made = (_logits(self._sounds(column, side)) for side in (row.originals, row.renditions))
        usable = np.isfinite(real).all(axis=1) & np.isfinite(made).all(axis=1)
        if not usable.any():
            raise UndefinedMeasureError("No clip has classes that are finite.", "Check the weights of the encoder.")
        values = kl_divergences(real[usable], made[usable])
        return _mean_cell(column, [clip for clip, good in zip(row.clips, usable, strict=True) if good], values, row)

    def _inception(self, row: RowClips, column: Column) -> Cell:
        logits = _logits(self._sounds(column, row.renditions))
        usable = logits[np.isfinite(logits).all(axis=1)]
        return Cell(column.scale * inception_score(usable), len(usable), _left_out(len(usable), len(row.clips)))

    def _text_sound(self, row: RowClips, column: Column) -> Cell:
        encoder = self._encoders.text_sound
        texts = self._reader.text_vectors(encoder, [clip.prompt for clip in row.clips])
        sounds = self._reader.sound_vectors(encoder, [each.sound for each in row.renditions])
        return _cosine_cell(column, row, [texts[place : place + 1] for place in range(len(texts))], sounds)

    def _text_picture(self, row: RowClips, column: Column) -> Cell:
        encoder = self._encoders.text_frames
        texts = self._reader.text_vectors(encoder, [clip.prompt for clip in row.clips])
        return _cosine_cell(column, row, self._reader.frame_vectors(encoder, row.clips, row.renditions), texts)

    def _picture_sound(self, row: RowClips, column: Column) -> Cell:
        encoder = self._encoders.frame_sound
        sounds = self._reader.sound_vectors(encoder, [each.sound for each in row.renditions])
        return _cosine_cell(column, row, self._reader.frame_vectors(encoder, row.clips, row.renditions), sounds)

    def _distance_of_videos(self, row: RowClips, column: Column) -> Cell:
        if all(one.video_key == other.video_key for one, other in zip(row.originals, row.renditions, strict=True)):
            return Cell(None, len(row.clips), "the pictures are the original ones")
        encoder = self._encoders.video
        real = _finite_vectors(self._reader.videos(encoder, row.clips, row.originals))
        made = _finite_vectors(self._reader.videos(encoder, row.clips, row.renditions))
        distance = frechet_distance if column.key == "fvd" else kernel_distance
        return _distance(real, made, distance, column, min(len(real), len(made)), len(row.clips))

    def _energy_error(self, row: RowClips, column: Column) -> Cell:
        values = []
        for number, (original, rendition) in enumerate(zip(row.originals, row.renditions, strict=True)):
            self._watch.report("Energies", number, len(row.clips))
            real, made = self._energy(original), self._energy(rendition)
            frames = min(len(real), len(made))
            values.append(float(np.abs(real[:frames] - made[:frames]).mean()))
        return _mean_cell(column, row.clips, np.array(values), row)

    def _alignment(self, row: RowClips, column: Column) -> Cell:
        rate_hz = self._front_end.config.sample_rate_hz
        kept: list[TableClip] = []
        values: list[float] = []
        for number, (clip, peaks_s) in enumerate(zip(row.clips, self._motion_peaks(row), strict=True)):
            self._watch.report("Onsets", number, len(row.clips))
            if peaks_s is not None:
                onsets_s, _ = detect_onsets(self._waveform(row.renditions[number]), rate_hz)
                kept.append(clip)
                values.append(av_align(onsets_s, peaks_s, MOTION_RATE))
        return _mean_cell(column, kept, np.array(values), row)

    def _onset_accuracy(self, row: RowClips, column: Column) -> Cell:
        return _mean_cell(column, row.clips, self._hits(row, "same_number"), row)

    def _onset_precision(self, row: RowClips, column: Column) -> Cell:
        return _mean_cell(column, row.clips, self._hits(row, "average_precision"), row)

    def _hits(self, row: RowClips, score: str) -> NDArray[np.float64]:
        """A score [N] of the Greatest Hits protocol for each clip."""
        rate_hz = self._front_end.config.sample_rate_hz
        keys = [
            ["hits", _VERSION, file_sha256(original.sound), file_sha256(rendition.sound)]
            for original, rendition in zip(row.originals, row.renditions, strict=True)
        ]

        def make(places: Sequence[int]) -> list[Arrays]:
            self._watch.report("Onsets", places[0], len(keys))
            both = [[self._waveform(side[place]) for side in (row.originals, row.renditions)] for place in places]
            hits = [compare_sounds(real, made, rate_hz) for real, made in both]
            return [{name: np.array(float(value)) for name, value in asdict(hit).items()} for hit in hits]

        return np.array([float(each[score]) for each in self._cache.arrays(keys, make) if each is not None])

    def _motion_peaks(self, row: RowClips) -> list[NDArray[np.float64] | None]:
        """Times in seconds of the peaks of optical flow in the videos of a row; None for unreadable ones."""
        width, height = MOTION_SIZE
        keys = [["motion", _VERSION, str(MOTION_RATE), width, height, each.video_key] for each in row.renditions]

        def peaks_s(place: int) -> NDArray[np.float64]:
            frames = read_frames(
                row.renditions[place].video,
                start_s=row.renditions[place].video_start_s,
                duration_s=row.clips[place].duration_s,
                frame_rate=MOTION_RATE,
                width=width,
                height=height,
            )
            return motion_peaks(frames, MOTION_RATE)

        def make(places: Sequence[int]) -> list[Arrays | None]:
            self._watch.report("Motion", places[0], len(keys))
            return [unless_unreadable(functools.partial(peaks_s, place)) for place in places]

        return [None if each is None else each["features"] for each in self._cache.arrays(keys, make)]

    def _energy(self, rendition: Rendition) -> FloatArray:
        """Energy [T] in nats of a sound with its peak at the level of training."""
        key = ["energy", _VERSION, file_sha256(rendition.sound)]

        def make(places: Sequence[int]) -> list[Arrays]:
            log_mel = self._front_end.log_mel(torch.from_numpy(self._waveform(rendition))[None])[0]
            return [{"energy": log_mel.mean(dim=-1).numpy()}]

        (found,) = self._cache.arrays([key], make)
        assert found is not None
        return np.asarray(found["energy"], np.float32)

    def _waveform(self, rendition: Rendition) -> FloatArray:
        """Waveform [samples] at the rate of the front end, with its peak at the level of training."""
        waveform, rate_hz = read_mono(rendition.sound)
        wanted_hz = self._front_end.config.sample_rate_hz
        if rate_hz != wanted_hz:
            waveform = resample(waveform[None], rate_hz, wanted_hz, max(1, waveform.size * wanted_hz // rate_hz))[0]
        return normalise(waveform)

    def _sounds(self, column: Column, renditions: Sequence[Rendition]) -> list[SoundFeatures]:
        return self._reader.sounds(
            self._encoders.for_sounds(_sound_measure(column)), [each.sound for each in renditions]
        )


def _sound_measure(column: Column) -> Literal["fd", "fad", "mkl", "is"]:
    return cast(Literal["fd", "fad", "mkl", "is"], column.key)


def _distance(
    real: NDArray[np.floating],
    made: NDArray[np.floating],
    distance: Callable[[NDArray[np.floating], NDArray[np.floating]], float],
    column: Column,
    clips: int,
    of_clips: int,
) -> Cell:
    value = column.scale * distance(real, made)
    notes = [_left_out(clips, of_clips)] if clips < of_clips else []
    if is_underdetermined(min(len(real), len(made)), real.shape[1]):
        notes.append(f"{min(len(real), len(made))} rows of {real.shape[1]} values: too few for a reliable distance")
    return Cell(value, clips, "; ".join(notes))


def _cosine_cell(column: Column, row: RowClips, frames: Sequence[FloatArray | None], vectors: FloatArray) -> Cell:
    """Mean over the clips of the mean cosine of the rows of `frames` [T, D] with one vector [D] of each clip."""
    kept: list[TableClip] = []
    values: list[float] = []
    for clip, own, vector in zip(row.clips, frames, vectors, strict=True):
        if own is not None and np.isfinite(own).all() and np.isfinite(vector).all():
            kept.append(clip)
            values.append(float(cosines(own, vector[None]).mean()))
    return _mean_cell(column, kept, np.array(values), row)


def _mean_cell(column: Column, clips: Sequence[TableClip], values: NDArray[np.floating], row: RowClips) -> Cell:
    if not len(values):
        raise UndefinedMeasureError("No clip has finite values.", "Check the weights of the encoder.")
    scaled = {clip.name: column.scale * float(value) for clip, value in zip(clips, values, strict=True)}
    return Cell(float(np.mean(list(scaled.values()))), len(scaled), _left_out(len(scaled), len(row.clips)), scaled)


def _left_out(clips: int, of_clips: int) -> str:
    count = of_clips - clips
    what = "1 clip is" if count == 1 else f"{count} clips are"
    return f"{what} left out: unreadable pictures, or features that are not finite" if count else ""


def _finite_vectors(vectors: Sequence[FloatArray | None]) -> FloatArray:
    kept = [vector for vector in vectors if vector is not None and np.isfinite(vector).all()]
    if not kept:
        raise UndefinedMeasureError("No clip has features that are finite.", "Check the videos and the encoder.")
    return np.stack(kept)


def _finite_parts(features: Sequence[SoundFeatures]) -> list[FloatArray]:
    kept = [each.embeddings for each in features if np.isfinite(each.embeddings).all()]
    if not kept:
        raise UndefinedMeasureError("No clip has features that are finite.", "Check the weights of the encoder.")
    return kept


def _logits(features: Sequence[SoundFeatures]) -> NDArray[np.floating]:
    logits = [each.logits for each in features if each.logits is not None]
    if len(logits) < len(features):
        raise UndefinedMeasureError("The encoder has no classes.", "Give an encoder with classes, such as PANNs.")
    return np.stack(logits)
