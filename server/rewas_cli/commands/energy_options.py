"""Which energy a command is asked for: from the picture, a sound, a file of points or one level, and edited how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewas_api.v1 import rewas_pb2
from rewas_cli.commands.shared_options import otio_clip, otio_range, seconds
from rewas_cli.reports import energy_report
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
    from rewas_server.work.context import WorkProgress

CURVE_SUFFIX = ".csv"


class Origin(StrEnum):
    """Where an energy curve is taken from."""

    VIDEO = "video"
    AUDIO = "audio"
    FLAT = "flat"
    CURVE_FILE = "curve file"
    SOUND_FILE = "sound file"


_WORDS = (Origin.VIDEO, Origin.AUDIO, Origin.FLAT)


@dataclass(frozen=True)
class EnergyOptions:
    """What is asked for, understood as far as that takes no work.

    path: of a curve or sound file. level_nats: of a flat curve. edits: in their order.
    """

    origin: Origin
    path: Path | None = None
    level_nats: float = DEFAULT_FLAT_NATS
    edits: tuple[EnergyEdit, ...] = ()

    @classmethod
    def parsed(cls, source: str | None, edits: Sequence[str] | None) -> EnergyOptions:
        """What the options --energy or --from and --edit say. Raises SettingsError for what cannot be understood."""
        understood = parse_edits(edits or (), parse_edit)
        source = Origin.VIDEO if source is None else source
        if source in _WORDS:
            return cls(Origin(source), edits=understood)
        if source.startswith("flat:"):
            level_nats = parse_number(source, "flat:", "flat:-5")
            curve_from_points([(0, level_nats), (1, level_nats)], duration=1, name=f"the energy “{source[:60]}”")
            return cls(Origin.FLAT, level_nats=level_nats, edits=understood)
        origin, path = parse_source(source, "energy", _WORDS)
        return cls(origin, path, edits=understood)

    @property
    def read(self) -> tuple[Path, ...]:
        """The files that it is taken from, beside the clip's own."""
        return () if self.path is None else (self.path,)

    @property
    def edit_words(self) -> list[str]:
        """The edits as they travel."""
        return [str(edit) for edit in self.edits]


@dataclass(frozen=True)
class ChosenClip:
    """The clip that a command line names. media: an absolute path. start, duration: as they were typed."""

    media: Path
    start: str | None
    duration: str | None

    @cached_property
    def otio_json(self) -> str:
        """The clip as it travels."""
        return str(otio_clip(self.media, self.start, self.duration).to_json_string())

    @cached_property
    def sounding(self) -> ProbedClip:
        """The clip held against its media, which may hold sound alone. Raises SettingsError, MediaError."""
        return read_clip_with_sound(self._video_clip)[0]

    @cached_property
    def read(self) -> ProbedClip:
        """The clip held against its media. Raises SettingsError, MediaError, typer.BadParameter."""
        return read_clip(self._video_clip)

    @property
    def _video_clip(self) -> VideoClip:
        start_s = seconds(self.start, "--start") if self.start is not None else 0
        duration_s = seconds(self.duration, "--duration") if self.duration is not None else None
        return VideoClip(self.media, start=start_s, duration=duration_s)


@dataclass(frozen=True)
class EnergyValuesMessage:
    """An energy as it travels, before its edits: values, or one level in nats; neither leaves it to the picture."""

    curve: rewas_pb2.EnergyCurve | None = None
    flat_nats: float | None = None

    def message(self, edits: Sequence[str]) -> rewas_pb2.EnergyInput:
        """The energy as it travels, with its edits."""
        return rewas_pb2.EnergyInput(curve=self.curve, flat_nats=self.flat_nats, edits=edits)


@dataclass(frozen=True)
class EnergyResolver:
    """Takes energy for one clip, with the model where that needs one.

    find_cuts: the report then holds the clip's cuts as `cuts_s`, in seconds from its start.
    """

    runner: Runner
    clip: ChosenClip
    pack: str | None
    on_progress: Callable[[WorkProgress], None]
    cancel: threading.Event
    find_cuts: bool = False

    def taken(self, choice: EnergyOptions) -> tuple[rewas_pb2.EnergyResult, dict[str, Any]]:
        """The energy that is asked for, edited, and how it came about. Raises EngineError, ProblemError."""
        performed = self._measure_performance(choice)
        given = EnergyValuesMessage() if choice.origin is Origin.AUDIO else self._resolve_values(choice, performed)
        taken = self._measured(
            self.clip.media,
            self.clip.otio_json,
            source=rewas_pb2.ENERGY_SOURCE_AUDIO if choice.origin is Origin.AUDIO else None,
            energy=given.message(choice.edit_words),
            find_cuts=self.find_cuts,
        )
        report = energy_report(taken, self.clip.media) | {"edits": choice.edit_words}
        if performed is not None:
            heard = energy_report(performed, self.clip.media)
            report |= {key: heard[key] for key in ("pack", "timings_s")}
        if self.find_cuts:
            report["cuts_s"] = [cut.numerator / cut.denominator for cut in taken.cuts_s]
        if choice.edits:
            report["unedited"] = list(taken.unedited_energy.values)
        return taken, report

    def given(self, choice: EnergyOptions) -> EnergyValuesMessage:
        """What a sound is told to follow before its edits. Raises EngineError, ProblemError."""
        return self._resolve_values(choice, self._measure_performance(choice))

    def resolve_layer(self, choice: EnergyOptions) -> rewas_pb2.EnergyInput:
        """What a layer is told to follow. Raises EngineError, ProblemError."""
        given = self.given(choice)
        if choice.origin is Origin.VIDEO:
            given = EnergyValuesMessage(self._measured(self.clip.media, self.clip.otio_json).energy)
        return given.message(choice.edit_words)

    def _resolve_values(self, choice: EnergyOptions, performed: rewas_pb2.EnergyResult | None) -> EnergyValuesMessage:
        if choice.origin is Origin.VIDEO:
            return EnergyValuesMessage()
        if choice.origin is Origin.AUDIO:
            return EnergyValuesMessage(self.heard(None).energy)
        duration_s = self.clip.read.duration_s
        if choice.origin is Origin.FLAT:
            return EnergyValuesMessage(flat_nats=choice.level_nats)
        if performed is not None:
            return EnergyValuesMessage(curve_message(curve_from_message(performed.energy).with_duration(duration_s)))
        assert choice.path is not None
        return EnergyValuesMessage(curve_message(read_curve(choice.path, duration=duration_s)))

    def _measure_performance(self, choice: EnergyOptions) -> rewas_pb2.EnergyResult | None:
        """What another sound file holds, where the energy is to be taken from one."""
        return self.heard(choice.path) if choice.origin is Origin.SOUND_FILE else None

    def heard(self, sound: Path | None, texture: bool = False) -> rewas_pb2.EnergyResult:
        """What the clip's own sound holds, or another sound file as far as it lies over the clip.

        texture: whether that is wanted beside the energy. Raises EngineError, ProblemError.
        """
        audio = rewas_pb2.ENERGY_SOURCE_AUDIO
        if sound is None:
            return self._measured(self.clip.media, self.clip.otio_json, source=audio, measure_texture=texture)
        # Of a performance that runs on, only what lies over the clip decides how loud it is.
        whole, _ = read_clip_with_sound(VideoClip(sound))
        part = otio_range(sound, whole.start_s, min(whole.duration_s, self.clip.read.duration_s))
        return self._measured(sound, part.to_json_string(), source=audio, measure_texture=texture)

    def _measured(self, media: Path, clip_json: str, **asked: Any) -> rewas_pb2.EnergyResult:
        """What an energy job comes to. asked: fields of its EnergyWork."""
        work = rewas_pb2.EnergyWork(
            clip_otio_json=clip_json,
            uploaded_media=uploaded_media(self.runner, media, self.cancel),
            pack=self.pack,
            **asked,
        )
        outcome = self.runner.run(work, media.parent, self.on_progress, self.cancel)
        assert isinstance(outcome.result, rewas_pb2.EnergyResult)
        return outcome.result


def parse_source(source: str, what: str, words: Sequence[str]) -> tuple[Origin, Path]:
    """The file that a curve is taken from. what: "energy". words: what may be said instead of a file.

    Raises SettingsError where there is none of that name.
    """
    path = Path(source)
    if not path.is_file():
        raise SettingsError(
            f"There is no {what} source “{source[:200]}”: no such file.",
            f"Give a curve as {CURVE_SUFFIX}, a sound file, or one of {', '.join(words)}.",
        )
    is_curve = path.suffix.lower() == CURVE_SUFFIX
    return Origin.CURVE_FILE if is_curve else Origin.SOUND_FILE, path.absolute()


def check_curve_file(path: Path, what: str, read: Sequence[Path]) -> None:
    """See, before any work, that a curve can be written there. what: "texture". read: files that the command reads.

    Raises SettingsError, ProblemError (SETTINGS).
    """
    if path.suffix.lower() != CURVE_SUFFIX:
        raise SettingsError(f"The {what} {path} is not a CSV file.", f"End its name with {CURVE_SUFFIX}.")
    check_file_writable(path, what, read=read)


def event_report(event: rewas_pb2.EnergyEvent) -> dict[str, Any]:
    """One event as it is printed."""
    return {
        "number": event.number,
        "time_s": round(event.time_s.numerator / event.time_s.denominator, 4),
        "length_s": round(event.duration_s.numerator / event.duration_s.denominator, 4),
        "peak": round(event.peak_nats, 4),
        "strength": round(event.strength_nats, 4),
    }


def parse_number(source: str, prefix: str, example: str) -> float:
    """The number of a source like flat:-4. Raises SettingsError for what is none."""
    text = source.removeprefix(prefix).strip()
    try:
        # Python also reads 1_000 and the digits of other scripts.
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        kind = "level" if prefix == "flat:" else "tilt"
        raise SettingsError(f"The {kind} of “{source[:60]}” is not a number.", f"Write it as {example}.") from None
