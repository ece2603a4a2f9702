"""Realism: how near the sounds of a pack are to real recordings, by embeddings of sound effects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import MediaError
from rewas_engine.evaluation.bench import Bench
from rewas_engine.evaluation.distances import frechet_distance
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.nearest_neighbours import (
    Distances,
    Nearness,
    nearest_distances,
    nearest_other_distances,
    nearness,
)
from rewas_engine.evaluation.real_sounds import FEWEST, RealSound
from rewas_engine.evaluation.sound_embedding import EMBEDDING_RATE_HZ, SoundEmbedder
from rewas_engine.evaluation.splits import TEST
from rewas_engine.media.audio import read_audio, resample
from rewas_engine.world import ALL_CLASSES, CLIP_DURATION_S, captions, render_sound
from rewas_engine.world.classes import SAMPLE_RATE_HZ as WORLD_RATE_HZ
from rewas_engine.world.recorded_kinds import class_of_kind

LONGEST_S = Fraction(CLIP_DURATION_S).limit_denominator(1000)
"""Longer recordings are cut: the length of a generated sound."""
SPLITS = 100
"""Random halves of the recordings over which Fréchet distances are averaged."""
WORLD_CLIPS = 8
AUDIBLE = 0.05
"""Share of the peak at which a sound of the world begins."""
REAL, MADE, NOISE, WORLD, OTHERS = "real", "made", "noise", "world", "other_kinds"
SOURCES: Mapping[str, str] = {
    REAL: "Other real recordings of the kind",
    MADE: "The pack",
    WORLD: "The synthesis of the world",
    NOISE: "Noise with the same energy",
    OTHERS: "Real recordings of other kinds",
}
"""What is compared with the real recordings of a kind."""
_PAIRED = (REAL, MADE, NOISE)
"""Sources with one sound for each recording, made from its energy."""


@dataclass(frozen=True, eq=False)
class MeasuredKind:
    """A kind and its embeddings.

    Attributes:
        name: The kind: its class of the world, if it has one.
        class_name: That class, or None.
        embeddings: Source -> embeddings [N, D].
        references: The recordings again, [N, D], with the bandwidth of the pack.
    """

    name: str
    class_name: str | None
    embeddings: Mapping[str, FloatArray]
    references: FloatArray

    def distances(self, source: str, *, full_band: bool = True) -> Distances:
        """Cosine distances [N] of a source's sounds from the nearest real recording of the kind."""
        references = self.embeddings[REAL] if full_band else self.references
        sounds = references if source == REAL else self.embeddings[source]
        return (nearest_other_distances if source in _PAIRED else nearest_distances)(sounds, references)


@dataclass(frozen=True, eq=False)
class _Recording:
    """A recording: what it is, and its waveform [samples] at EMBEDDING_RATE_HZ."""

    sound: RealSound
    waveform: FloatArray


class _Measurement:
    """Embeds the sounds of all sources, kind by kind."""

    def __init__(self, bench: Bench, embedder: SoundEmbedder) -> None:
        self.bench, self.watch = bench, bench.watch
        self.embedder = embedder
        self.unread: dict[str, str] = {}
        self.silent = 0
        self._rate_hz = bench.model.front_end.config.sample_rate_hz

    def kinds(self, groups: Mapping[str, tuple[str | None, Sequence[RealSound]]]) -> list[MeasuredKind]:
        """Measure kinds: name -> class and recordings. Kinds with fewer than two readable recordings are left out."""
        recordings = {name: self._read(sounds) for name, (_, sounds) in groups.items()}
        recordings = {name: found for name, found in recordings.items() if len(found) >= FEWEST}
        if not recordings:
            return []
        made = self._make({name: (groups[name][0], found) for name, found in recordings.items()})
        kinds = []
        for number, (name, found) in enumerate(recordings.items()):
            self.watch.report("Embedding sounds", number, len(recordings))
            class_name = groups[name][0]
            embeddings = {
                REAL: self._embed(name, [one.waveform for one in found]),
                MADE: self._embed(f"A sound of the pack for {name}", made[name]),
                NOISE: self._embed(name, [self._noise(one, seed) for seed, one in enumerate(found)]),
            }
            if class_name is not None:
                lengths = [one.waveform.size for one in found]
                embeddings[WORLD] = self._embed(name, list(_world_sounds(class_name, lengths)))
            narrow = [self._at_pack_rate(one.waveform) for one in found]
            references = self._embed(name, [_resampled(sound, self._rate_hz, EMBEDDING_RATE_HZ) for sound in narrow])
            kinds.append(MeasuredKind(name, class_name, embeddings, references))
        return [_with_others(kind, kinds) for kind in kinds] if len(kinds) > 1 else kinds

    def _read(self, sounds: Sequence[RealSound]) -> list[_Recording]:
        recordings = []
        for sound in sounds:
            self.watch.check()
            try:
                recordings.append(_Recording(sound, _read_recording(sound)))
            except MediaError as error:
                self.unread[sound.path.name] = error.what
        return recordings

    def _make(self, groups: Mapping[str, tuple[str | None, list[_Recording]]]) -> dict[str, list[FloatArray]]:
        """The pack's sounds at EMBEDDING_RATE_HZ, one for each recording, with its energy and length."""
        prompts = [prompt for _, (name, found) in groups.items() for prompt in _prompts(name, found)]
        every = [one for _, found in groups.values() for one in found]
        controls = [Controls(energy=self._energy(one)) for one in every]
        sounds = self.bench.generate("Sounds for real recordings", prompts, controls, seeds=list(range(len(every))))
        self.silent = sum(not sound.any() for sound in sounds.waveforms)
        waveforms = iter([_resampled(sound, self._rate_hz, EMBEDDING_RATE_HZ) for sound in sounds.waveforms])
        return {name: [next(waveforms)[: one.waveform.size] for one in found] for name, (_, found) in groups.items()}

    def _energy(self, recording: _Recording) -> FloatArray:
        """Energy [T] of a recording, followed by silence up to the length of a generated sound."""
        samples = int(LONGEST_S * self._rate_hz)
        sound = self._at_pack_rate(recording.waveform)[:samples]
        padded = np.pad(normalise(sound), (0, samples - sound.size))
        return np.asarray(self.bench.model.front_end.measure_energy(padded).values)

    def _noise(self, recording: _Recording, seed: int) -> FloatArray:
        """White noise [samples] that rises and falls as a recording does."""
        energy = self._energy(recording)
        samples = recording.waveform.size
        at_s = np.arange(samples) / EMBEDDING_RATE_HZ
        times_s = (np.arange(energy.size) + 0.5) / float(self.bench.model.front_end.config.frame_rate_hz)
        level = np.exp(np.interp(at_s, times_s, energy) - energy.max())
        return np.asarray(np.random.default_rng(seed).normal(size=samples) * level, np.float32)

    def _at_pack_rate(self, waveform: FloatArray) -> FloatArray:
        return _resampled(waveform, EMBEDDING_RATE_HZ, self._rate_hz)

    def _embed(self, name: str, waveforms: Sequence[FloatArray]) -> FloatArray:
        embedded = []
        for waveform in waveforms:
            self.watch.check()
            embedded.append(self.embedder.embed(waveform, name))
        return np.stack(embedded)


def realism_section(
    bench: Bench,
    kinds: Mapping[str, Sequence[RealSound]],
    classes: Sequence[str],
    embedder: SoundEmbedder | None = None,
) -> Section:
    """Build the section.

    Kinds of the given classes are measured, together for each class. If the folder has none, all of its kinds are.

    Args:
        bench: Makes the sounds of the pack.
        kinds: Kind -> its recordings, which training has not used.
        classes: Classes of the world to measure.
        embedder: Embeds sounds; None loads the network of the installed package.

    Raises:
        PackError: The package of the embeddings is not installed.
        MediaError: A sound of the pack has values that are not finite.
    """
    measurement = _Measurement(bench, embedder or SoundEmbedder.load())
    groups, other = _groups(kinds, classes)
    measured = measurement.kinds(groups)
    details = {"unread": measurement.unread, "other_kinds": other, "silent": measurement.silent}
    if not measured:
        note = f"not measured: no kind has {FEWEST} readable recordings"
        return Section("realism", "Realism", (unmeasured_realism(note),), details)
    figures, rows = _figures(measured), [_row(kind) for kind in measured]
    return Section("realism", "Realism", figures, {**details, "kinds": rows, "sources": _sources(measured)})


def unmeasured_realism(note: str) -> Figure:
    """Build the figure of a pack that is not compared with real recordings."""
    return Figure("realism_nearness", _NEARNESS_LABEL, None, note=note)


_NEARNESS_LABEL = "Nearness to real recordings, relative to that of real ones to each other"


def _figures(kinds: Sequence[MeasuredKind]) -> tuple[Figure, ...]:
    full, narrow = _nearness(kinds, MADE), _nearness(kinds, MADE, full_band=False)
    recordings = sum(len(kind.references) for kind in kinds)
    note = f"{_interval(full)}; {len(kinds)} kinds, {recordings} recordings"
    distances = [
        Figure(f"realism_distance_{source}", f"Distance from the nearest real recording: {label}", _mean(kinds, source))
        for source, label in SOURCES.items()
        if all(source in kind.embeddings for kind in kinds)
    ]
    pairs = [kind.embeddings for kind in kinds]
    frechet = [
        Figure(f"realism_frechet_{source}", f"Fréchet distance, all kinds: {SOURCES[source]}", value, note=size)
        for source in (REAL, MADE, NOISE)
        for value, size in [_split_frechet(pairs, source)]
        if value is not None
    ]
    return (
        Figure("realism_nearness", _NEARNESS_LABEL, full.value, note=note),
        Figure(
            "realism_nearness_in_band", "The same, at the sample rate of the pack", narrow.value, note=_interval(narrow)
        ),
        *distances,
        *frechet,
    )


def _row(kind: MeasuredKind) -> dict[str, Any]:
    """Figures of a kind, as JSON values."""
    sources = [source for source in SOURCES if source in kind.embeddings]
    found = {source: _nearness([kind], source) for source in sources if source != REAL}
    frechet = {source: _split_frechet([kind.embeddings], source)[0] for source in sources if source in _PAIRED}
    return {
        "kind": kind.name,
        "recordings": len(kind.references),
        "distances": {source: round(float(kind.distances(source).mean()), 5) for source in sources},
        "nearness": {source: _values(one) for source, one in found.items()},
        "nearness_in_band": _values(_nearness([kind], MADE, full_band=False)),
        "frechet": {source: None if value is None else round(value, 3) for source, value in frechet.items()},
    }


def _sources(kinds: Sequence[MeasuredKind]) -> dict[str, Any]:
    """Nearness of every source, over the kinds that have it."""
    having = {source: [kind for kind in kinds if source in kind.embeddings] for source in SOURCES if source != REAL}
    return {
        source: {
            "kinds": len(those),
            "nearness": _values(_nearness(those, source)),
            "nearness_in_band": _values(_nearness(those, source, full_band=False)),
        }
        for source, those in having.items()
        if those
    }


def _nearness(kinds: Sequence[MeasuredKind], source: str, *, full_band: bool = True) -> Nearness:
    return nearness(
        [kind.distances(REAL, full_band=full_band) for kind in kinds],
        [kind.distances(source, full_band=full_band) for kind in kinds],
        paired=source in _PAIRED,
    )


def _mean(kinds: Sequence[MeasuredKind], source: str) -> float:
    return float(np.mean([kind.distances(source).mean() for kind in kinds]))


def _split_frechet(kinds: Sequence[Mapping[str, FloatArray]], source: str) -> tuple[float | None, str]:
    """Mean Fréchet distance from half of the recordings to what belongs to the other half, and the sizes.

    None if a half has one recording, because that has no covariance.
    """
    rng = np.random.default_rng(0)
    values, size = [], sum(len(kind[REAL]) // 2 for kind in kinds)
    if size < 2:
        return None, ""
    for _ in range(SPLITS):
        halves = [np.array_split(rng.permutation(len(kind[REAL])), [len(kind[REAL]) // 2]) for kind in kinds]
        references = np.concatenate([kind[REAL][one] for kind, (one, _) in zip(kinds, halves, strict=True)])
        sounds = np.concatenate([kind[source][two[: len(one)]] for kind, (one, two) in zip(kinds, halves, strict=True)])
        values.append(frechet_distance(references, sounds))
    return float(np.mean(values)), f"{size} and {size} sounds, mean over {SPLITS} random halves"


def _values(found: Nearness) -> list[float]:
    return [round(value, 4) for value in (found.value, found.low, found.high)]


def _interval(found: Nearness) -> str:
    return f"95 % interval {found.low:.2f} to {found.high:.2f}"


def _groups(
    kinds: Mapping[str, Sequence[RealSound]], classes: Sequence[str]
) -> tuple[dict[str, tuple[str | None, Sequence[RealSound]]], list[str]]:
    """What to measure: name -> class and recordings; and the kinds that are not measured."""
    class_of = {kind: class_of_kind(kind, ALL_CLASSES) for kind in kinds}
    groups: dict[str, tuple[str | None, Sequence[RealSound]]] = {}
    for name in classes:
        sounds = [sound for kind, found in kinds.items() if class_of[kind] == name for sound in found]
        if sounds:
            groups[name.replace("_", " ")] = (name, sounds)
    if not groups:
        return {kind: (class_of[kind], sounds) for kind, sounds in kinds.items()}, []
    return groups, [kind for kind in kinds if class_of[kind] not in classes]


def _prompts(class_name: str | None, recordings: Sequence[_Recording]) -> list[str]:
    """The class in phrasings of training, in turn; without a class, the kind."""
    if class_name is None:
        return [one.sound.kind for one in recordings]
    phrases = captions(class_name)
    return [phrases[number % len(phrases)] for number in range(len(recordings))]


def _with_others(kind: MeasuredKind, kinds: Sequence[MeasuredKind]) -> MeasuredKind:
    others = np.concatenate([other.embeddings[REAL] for other in kinds if other is not kind])
    return MeasuredKind(kind.name, kind.class_name, {**kind.embeddings, OTHERS: others}, kind.references)


def _world_sounds(class_name: str, lengths: Sequence[int]) -> Iterator[FloatArray]:
    """Sounds of the world at EMBEDDING_RATE_HZ from where they begin, with these lengths in turn, in samples."""
    for number, scene in enumerate(TEST.audible(class_name, WORLD_CLIPS)):
        sound = _resampled(render_sound(scene), WORLD_RATE_HZ, EMBEDDING_RATE_HZ)
        begin = int(np.argmax(np.abs(sound) >= AUDIBLE * np.abs(sound).max()))
        yield sound[begin : begin + lengths[number % len(lengths)]]


def _read_recording(sound: RealSound) -> FloatArray:
    """Waveform [samples] of a recording at EMBEDDING_RATE_HZ, up to LONGEST_S. Raises MediaError."""
    # The rest is not decoded: it may be long, or damaged.
    padded = read_audio(sound.path, start_s=Fraction(0), duration_s=LONGEST_S, sample_rate_hz=EMBEDDING_RATE_HZ)
    waveform = np.trim_zeros(padded, "b")
    if not waveform.size:
        raise MediaError(f"{sound.path.name} is silent, so it cannot be compared.", "Leave it out.")
    return waveform


def _resampled(waveform: FloatArray, from_hz: int, to_hz: int) -> FloatArray:
    samples = max(1, round(waveform.size * to_hz / from_hz))
    return resample(np.asarray(waveform, np.float32)[None], from_hz, to_hz, samples)[0]
