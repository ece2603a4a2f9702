"""The energy options: from the video, a sound, a curve file or a constant level, with edits."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewas_api import enum_names
from rewas_api.v1 import rewas_pb2
from rewas_cli.commands.shared_options import otio_clip, otio_range, parse_speed, parse_time_s
from rewas_cli.reports import energy_report, note_reports
from rewas_cli.runner import uploaded_media
from rewas_engine import (
    EnergyEdit,
    ProbedClip,
    SettingsError,
    VideoClip,
    curve_from_points,
    parse_edit,
    read_curve,
)
from rewas_engine.curves.sources import DEFAULT_FLAT_NATS
from rewas_engine.media.probe import read_clip, read_clip_with_sound
from rewas_server.files.output_paths import check_file_writable
from rewas_server.work.energy_requests import parse_edits
from rewas_server.work.translation import curve_from_message, curve_message

if TYPE_CHECKING:
    from rewas_cli.runner import Runner
    from rewas_engine.runtime.progress import ProgressCallback

CURVE_SUFFIX = ".csv"


class Origin(StrEnum):
    """Where an energy curve is taken from."""

    VIDEO = "video"
    AUDIO = "audio"
    FLAT = "flat"
    CURVE_FILE = "curve file"
    SOUND_FILE = "sound file"


_SOURCE_KEYWORDS = (Origin.VIDEO, Origin.AUDIO, Origin.FLAT)


@dataclass(frozen=True)
class EnergyOptions:
    """The requested energy, parsed but not yet computed.

    Args:
        origin: Where the energy comes from.
        path: The curve or sound file, if the origin is one.
        level_nats: The level of a flat curve.
        edits: The edits, in order.
    """

    origin: Origin
    path: Path | None = None
    level_nats: float = DEFAULT_FLAT_NATS
    edits: tuple[EnergyEdit, ...] = ()

    @classmethod
    def from_options(cls, source: str | None, edits: Sequence[str] | None) -> EnergyOptions:
        """Parse --energy (or --from) and --edit. Raises SettingsError if they cannot be parsed."""
        parsed_edits = parse_edits(edits or (), parse_edit)
        source = Origin.VIDEO if source is None else source
        if source in _SOURCE_KEYWORDS:
            return cls(Origin(source), edits=parsed_edits)
        if source.startswith("flat:"):
            level_nats = parse_number(source, "flat:", "flat:-5")
            curve_from_points([(0, level_nats), (1, level_nats)], duration=1, name=f"the energy “{source[:60]}”")
            return cls(Origin.FLAT, level_nats=level_nats, edits=parsed_edits)
        origin, path = parse_source(source, "energy", _SOURCE_KEYWORDS)
        return cls(origin, path, edits=parsed_edits)

    @property
    def input_files(self) -> tuple[Path, ...]:
        """The files that the energy is read from, other than the clip."""
        return () if self.path is None else (self.path,)

    @property
    def edit_texts(self) -> list[str]:
        """The edits as text, as in a request."""
        return [str(edit) for edit in self.edits]


@dataclass(frozen=True)
class ClipRange:
    """The clip on the command line.

    Args:
        media: The absolute path of the media file.
        start: The start as typed.
        duration: The duration as typed.
        speed: How fast the clip plays, as typed.
    """

    media: Path
    start: str | None
    duration: str | None
    speed: str | None = None

    @cached_property
    def otio_json(self) -> str:
        """The clip as OTIO JSON, as in a request."""
        speed = parse_speed(self.speed, self.duration)
        if speed != 1:
            assert self._video_clip  # A clip that plays backwards must not reach beyond the start of its media.
        return str(otio_clip(self.media, self.start, self.duration, speed).to_json_string())

    @cached_property
    def sound_probe(self) -> ProbedClip:
        """The clip as found in its media, which may have sound only. Raises SettingsError, MediaError."""
        return read_clip_with_sound(self._video_clip)[0]

    @cached_property
    def video_probe(self) -> ProbedClip:
        """The clip as found in its media. Raises SettingsError, MediaError, typer.BadParameter."""
        return read_clip(self._video_clip)

    @property
    def _video_clip(self) -> VideoClip:
        start_s = parse_time_s(self.start, "--start") if self.start is not None else 0
        duration_s = parse_time_s(self.duration, "--duration") if self.duration is not None else None
        speed = parse_speed(self.speed, self.duration)
        return VideoClip(self.media, start=start_s, duration=duration_s, speed=speed)


@dataclass(frozen=True)
class EnergyValuesMessage:
    """An energy before its edits: a curve, or a level in nats; with neither, it is estimated from the video."""

    curve: rewas_pb2.EnergyCurve | None = None
    flat_nats: float | None = None

    def message(self, edits: Sequence[str]) -> rewas_pb2.EnergyInput:
        """Return the energy with its edits as a message."""
        return rewas_pb2.EnergyInput(curve=self.curve, flat_nats=self.flat_nats, edits=edits)


@dataclass(frozen=True)
class EnergyResolver:
    """Computes the energy of one clip, with the model if it is needed.

    Args:
        find_cuts: Whether the report has the cuts of the clip as `cuts_s`, in seconds from its start.
        audio_track: Number of the clip's audio track, from 1; None is the first that is not silent.
        notes: Receives the notes of all results.
    """

    runner: Runner
    clip: ClipRange
    pack: str | None
    on_progress: ProgressCallback
    cancel: threading.Event
    find_cuts: bool = False
    audio_track: int | None = None
    notes: list[rewas_pb2.Note] = field(default_factory=list)

    def resolve(
        self, choice: EnergyOptions, prompt: str | None = None, level: str | None = None
    ) -> tuple[rewas_pb2.EnergyResult, dict[str, Any]]:
        """Return the edited energy and its report.

        Args:
            choice: The requested energy.
            prompt: The sound that an energy from the video is for; None estimates it without a prompt.
            level: "standard" moves an energy from the video to the typical level of the prompt, "raw" keeps it. None
                means "standard".

        Raises:
            EngineError, ProblemError: The energy cannot be computed.
        """
        performance = self._measure_performance(choice)
        values = EnergyValuesMessage() if choice.origin is Origin.AUDIO else self._resolve_values(choice, performance)
        result = self._run_energy_work(
            self.clip.media,
            self.clip.otio_json,
            source=rewas_pb2.ENERGY_SOURCE_AUDIO if choice.origin is Origin.AUDIO else None,
            audio_track=self.audio_track if choice.origin is Origin.AUDIO else None,
            energy=values.message(choice.edit_texts),
            find_cuts=self.find_cuts,
            prompt=prompt,
            level=_level_field(level),
        )
        report = energy_report(result, self.clip.media) | {"edits": choice.edit_texts}
        if performance is not None:
            measured = energy_report(performance, self.clip.media)
            report |= {key: measured[key] for key in ("pack", "timings_s")}
        if self.find_cuts:
            report["cuts_s"] = [cut.numerator / cut.denominator for cut in result.cuts_s]
        if choice.edits:
            report["unedited"] = list(result.unedited_energy.values)
        report["notes"] = note_reports(self.notes)
        return result, report

    def resolve_values(self, choice: EnergyOptions) -> EnergyValuesMessage:
        """Return the energy of a sound before its edits. Raises EngineError, ProblemError."""
        return self._resolve_values(choice, self._measure_performance(choice))

    def resolve_layer(self, choice: EnergyOptions, prompt: str, level: str | None) -> rewas_pb2.EnergyInput:
        """Return the energy of a layer with its edits.

        Args:
            choice: The requested energy.
            prompt: Of the layer, for which an energy from the video is estimated.
            level: As in `resolve`.

        Raises:
            EngineError, ProblemError: The energy cannot be computed.
        """
        values = self.resolve_values(choice)
        if choice.origin is Origin.VIDEO:
            result = self._run_energy_work(
                self.clip.media, self.clip.otio_json, prompt=prompt, level=_level_field(level)
            )
            values = EnergyValuesMessage(result.energy)
        return values.message(choice.edit_texts)

    def _resolve_values(self, choice: EnergyOptions, performance: rewas_pb2.EnergyResult | None) -> EnergyValuesMessage:
        if choice.origin is Origin.VIDEO:
            return EnergyValuesMessage()
        if choice.origin is Origin.AUDIO:
            return EnergyValuesMessage(self.measure_sound(None).energy)
        duration_s = self.clip.video_probe.duration_s
        if choice.origin is Origin.FLAT:
            return EnergyValuesMessage(flat_nats=choice.level_nats)
        if performance is not None:
            return EnergyValuesMessage(curve_message(curve_from_message(performance.energy).with_duration(duration_s)))
        assert choice.path is not None
        return EnergyValuesMessage(curve_message(read_curve(choice.path, duration=duration_s)))

    def _measure_performance(self, choice: EnergyOptions) -> rewas_pb2.EnergyResult | None:
        """Measure the sound file, if the energy comes from one."""
        return self.measure_sound(choice.path) if choice.origin is Origin.SOUND_FILE else None

    def measure_sound(self, sound: Path | None, texture: bool = False) -> rewas_pb2.EnergyResult:
        """Measure the clip's own sound, or another sound file up to the length of the clip.

        Args:
            sound: The sound file; None for the clip's own sound.
            texture: Whether to measure the texture too.

        Raises:
            EngineError, ProblemError: the sound cannot be measured.
        """
        audio = rewas_pb2.ENERGY_SOURCE_AUDIO
        if sound is None:
            return self._run_energy_work(
                self.clip.media,
                self.clip.otio_json,
                source=audio,
                measure_texture=texture,
                audio_track=self.audio_track,
            )
        # The level is measured only on the part that covers the clip.
        whole, _ = read_clip_with_sound(VideoClip(sound))
        part = otio_range(sound, whole.start_s, min(whole.duration_s, self.clip.video_probe.duration_s))
        return self._run_energy_work(sound, part.to_json_string(), source=audio, measure_texture=texture)

    def _run_energy_work(self, media: Path, clip_json: str, **fields: Any) -> rewas_pb2.EnergyResult:
        """Run an energy job. fields: more fields of its EnergyWork."""
        work = rewas_pb2.EnergyWork(
            clip_otio_json=clip_json,
            uploaded_media=uploaded_media(self.runner, media, self.cancel),
            pack=self.pack,
            **fields,
        )
        outcome = self.runner.run(work, media.parent, self.on_progress, self.cancel)
        assert isinstance(outcome.result, rewas_pb2.EnergyResult)
        self.notes.extend(outcome.result.notes)
        return outcome.result


def _level_field(level: str | None) -> rewas_pb2.Level | None:
    """The field of an EnergyWork. The default is left out, because older servers do not know the field."""
    return enum_names.LEVEL.to_number(level) if level == "raw" else None


def check_audio_track(number: int | None, origins: Iterable[Origin], remedy: str) -> None:
    """Raise SettingsError for an --audio-track without effect. origins: of all energies and textures."""
    if number is not None and Origin.AUDIO not in origins:
        raise SettingsError(
            "--audio-track has no effect: nothing is measured on the clip's own sound.",
            f"{remedy}, or omit --audio-track.",
        )


def parse_source(source: str, what: str, keywords: Sequence[str]) -> tuple[Origin, Path]:
    """Return the file of a source and its kind.

    Args:
        source: The source as typed.
        what: "energy" or "texture", for the error.
        keywords: What may be typed instead of a file.

    Raises:
        SettingsError: there is no such file.
    """
    path = Path(source)
    if not path.is_file():
        raise SettingsError(
            f"There is no {what} source “{source[:200]}”: no such file.",
            f"Use a curve file ({CURVE_SUFFIX}), a sound file, or one of {', '.join(keywords)}.",
        )
    is_curve = path.suffix.lower() == CURVE_SUFFIX
    return Origin.CURVE_FILE if is_curve else Origin.SOUND_FILE, path.absolute()


def check_curve_file(path: Path, what: str, read: Sequence[Path]) -> None:
    """Check before any work that a curve can be written. what: "texture". read: files that the command reads.

    Raises SettingsError, ProblemError (SETTINGS).
    """
    if path.suffix.lower() != CURVE_SUFFIX:
        raise SettingsError(f"The {what} {path} is not a CSV file.", f"End its name with {CURVE_SUFFIX}.")
    check_file_writable(path, what, read=read)


def event_report(event: rewas_pb2.EnergyEvent) -> dict[str, Any]:
    """Return an event for the report."""
    return {
        "number": event.number,
        "time_s": round(event.time_s.numerator / event.time_s.denominator, 4),
        "length_s": round(event.duration_s.numerator / event.duration_s.denominator, 4),
        "peak": round(event.peak_nats, 4),
        "strength": round(event.strength_nats, 4),
    }


def parse_number(source: str, prefix: str, example: str) -> float:
    """Return the number of a source like flat:-4. Raises SettingsError if it is not a number."""
    text = source.removeprefix(prefix).strip()
    try:
        # Python also reads 1_000 and the digits of other scripts.
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        kind = "level" if prefix == "flat:" else "tilt"
        raise SettingsError(f"The {kind} of “{source[:60]}” is not a number.", f"Write it as {example}.") from None
