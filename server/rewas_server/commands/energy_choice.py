"""Which energy a command is asked for: from the picture, a sound, a file of points or one level, and edited how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rewas_api.v1 import rewas_pb2
from rewas_engine import (
    ClipRead,
    EnergyCurve,
    EnergyEdit,
    EnergyEvent,
    SettingsError,
    VideoClip,
    curve_from_points,
    edited,
    flat_curve,
    parse_edit,
    read_curve,
)
from rewas_engine.clip_reading import read_clip, read_sounding_clip
from rewas_engine.energy_sources import FLAT_NATS
from rewas_server.commands.options import otio_clip, otio_part, seconds
from rewas_server.reports import clip_report, energy_report
from rewas_server.running import uploaded_media
from rewas_server.translation import clip_message, curve_from

if TYPE_CHECKING:
    from rewas_server.running import Runner
    from rewas_server.tasks import WorkProgress

CURVE_SUFFIX = ".csv"
MOST_EDITS = 1000

Parsed = TypeVar("Parsed")


class Origin(StrEnum):
    """Where an energy curve is taken from."""

    VIDEO = "video"
    AUDIO = "audio"
    FLAT = "flat"
    CURVE_FILE = "curve file"
    SOUND_FILE = "sound file"


_WORDS = (Origin.VIDEO, Origin.AUDIO, Origin.FLAT)


@dataclass(frozen=True)
class EnergyChoice:
    """What is asked for, understood as far as that takes no work.

    path: of a curve or sound file. level_nats: of a flat curve. edits: in their order.
    """

    origin: Origin
    path: Path | None = None
    level_nats: float = FLAT_NATS
    edits: tuple[EnergyEdit, ...] = ()

    @classmethod
    def parsed(cls, source: str | None, edits: Sequence[str] | None) -> EnergyChoice:
        """What the options --energy or --from and --edit say. Raises SettingsError for what cannot be understood."""
        understood = checked_edits(edits, parse_edit)
        source = Origin.VIDEO if source is None else source
        if source in _WORDS:
            return cls(Origin(source), edits=understood)
        if source.startswith("flat:"):
            level_nats = number_of(source, "flat:", "flat:-5")
            curve_from_points([(0, level_nats), (1, level_nats)], duration=1, name=f"the energy “{source[:60]}”")
            return cls(Origin.FLAT, level_nats=level_nats, edits=understood)
        origin, path = source_file(source, "energy", _WORDS)
        return cls(origin, path, edits=understood)

    @property
    def is_left_to_the_picture(self) -> bool:
        """Whether it is what a job takes where nothing is asked for."""
        return self.origin is Origin.VIDEO and not self.edits


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
    def sounding(self) -> ClipRead:
        """The clip held against its media, which may hold sound alone. Raises SettingsError, MediaError."""
        return read_sounding_clip(self._part)[0]

    @cached_property
    def read(self) -> ClipRead:
        """The clip held against its media. Raises SettingsError, MediaError, typer.BadParameter."""
        return read_clip(self._part)

    @property
    def _part(self) -> VideoClip:
        start_s = seconds(self.start, "--start") if self.start is not None else 0
        duration_s = seconds(self.duration, "--duration") if self.duration is not None else None
        return VideoClip(self.media, start=start_s, duration=duration_s)


@dataclass(frozen=True)
class TakenEnergy:
    """A curve, and how it came about. report: as of `energy_report`, for the curve as it is after its edits."""

    curve: EnergyCurve
    report: dict[str, Any]


@dataclass(frozen=True)
class EnergyTaker:
    """Takes energy for one clip, with the model where that needs one.

    find_cuts: the report then holds the clip's cuts as `cuts_s`, in seconds from its start.
    """

    runner: Runner
    clip: ChosenClip
    pack: str | None
    on_progress: Callable[[WorkProgress], None]
    cancel: threading.Event
    find_cuts: bool = False

    def taken(self, choice: EnergyChoice) -> TakenEnergy:
        """The energy that is asked for, edited. Raises EngineError, ProblemError."""
        curve, about = self._unedited(choice)
        changed = edited(curve, choice.edits)
        report = about | {
            "rate_hz": float(changed.rate_hz),
            "values": changed.values.tolist(),
            "source": changed.source,
            "edits": [str(edit) for edit in choice.edits],
        }
        if self.find_cuts and "cuts_s" not in about:
            # What is given or comes from another file takes no look at the picture; its cuts do.
            report["cuts_s"] = self._of_clip(rewas_pb2.ENERGY_SOURCE_PICTURE)[1]["cuts_s"]
        if choice.edits:
            report["unedited"] = curve.values.tolist()
        return TakenEnergy(changed, report)

    def _unedited(self, choice: EnergyChoice) -> tuple[EnergyCurve, dict[str, Any]]:
        if choice.origin is Origin.VIDEO:
            return self._of_clip(rewas_pb2.ENERGY_SOURCE_PICTURE)
        if choice.origin is Origin.AUDIO:
            return self._of_clip(rewas_pb2.ENERGY_SOURCE_AUDIO)
        read = self.clip.read
        about = {"clip": clip_report(clip_message(read), self.clip.media), "pack": None, "timings_s": {}}
        if choice.origin is Origin.FLAT:
            return flat_curve(duration=read.duration_s, nats=choice.level_nats), about
        assert choice.path is not None
        if choice.origin is Origin.CURVE_FILE:
            return read_curve(choice.path, duration=read.duration_s), about
        performed = self.heard(choice.path)
        report = energy_report(performed, choice.path) | {"clip": about["clip"]}
        return curve_from(performed.energy).lasting(read.duration_s), report

    def _of_clip(self, source: int) -> tuple[EnergyCurve, dict[str, Any]]:
        measured = self._measured(self.clip.media, self.clip.otio_json, source, find_cuts=self.find_cuts)
        report = energy_report(measured, self.clip.media)
        if self.find_cuts:
            report["cuts_s"] = [cut.numerator / cut.denominator for cut in measured.cuts_s]
        return curve_from(measured.energy), report

    def heard(self, sound: Path | None, texture: bool = False) -> rewas_pb2.EnergyResult:
        """What the clip's own sound holds, or another sound file as far as it lies over the clip.

        texture: whether that is wanted beside the energy. Raises EngineError, ProblemError.
        """
        if sound is None:
            return self._measured(self.clip.media, self.clip.otio_json, rewas_pb2.ENERGY_SOURCE_AUDIO, texture)
        # Of a performance that runs on, only what lies over the clip decides how loud it is.
        whole, _ = read_sounding_clip(VideoClip(sound))
        part = otio_part(sound, whole.start_s, min(whole.duration_s, self.clip.read.duration_s))
        return self._measured(sound, part.to_json_string(), rewas_pb2.ENERGY_SOURCE_AUDIO, texture)

    def _measured(
        self, media: Path, clip_json: str, source: int, texture: bool = False, find_cuts: bool = False
    ) -> rewas_pb2.EnergyResult:
        work = rewas_pb2.EnergyWork(
            clip_otio_json=clip_json,
            source=source,  # type: ignore[arg-type]
            uploaded_media=uploaded_media(self.runner, media, self.cancel),
            pack=self.pack,
            find_cuts=find_cuts,
            texture=texture,
        )
        outcome = self.runner.run(work, media.parent, self.on_progress, self.cancel)
        assert isinstance(outcome.result, rewas_pb2.EnergyResult)
        return outcome.result


def checked_edits(edits: Sequence[str] | None, parse: Callable[[str], Parsed]) -> tuple[Parsed, ...]:
    """Edits as they are typed, each understood. Raises SettingsError for one that is not, and for too many."""
    if len(edits or ()) > MOST_EDITS:
        raise SettingsError(f"There are {len(edits or ())} edits.", f"Give at most {MOST_EDITS}.")
    return tuple(parse(words) for words in edits or ())


def source_file(source: str, what: str, words: Sequence[str]) -> tuple[Origin, Path]:
    """The file that a curve is taken from. what: "energy". words: what may be said instead of a file.

    Raises SettingsError where there is none of that name.
    """
    path = Path(source)
    if not path.is_file():
        raise SettingsError(
            f"There is no {what} source “{source[:200]}”: no file is called so.",
            f"Give a curve as {CURVE_SUFFIX}, a sound file, or one of {', '.join(words)}.",
        )
    is_curve = path.suffix.lower() == CURVE_SUFFIX
    return Origin.CURVE_FILE if is_curve else Origin.SOUND_FILE, path.absolute()


def check_curve_file(path: Path) -> None:
    """See, before any work, that a curve can be written there. Raises SettingsError."""
    if path.suffix.lower() != CURVE_SUFFIX:
        raise SettingsError(f"The curve {path} is not a CSV file.", f"End its name with {CURVE_SUFFIX}.")
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"There is no folder {path.absolute().parent} for the curve.", "Make it first.")


def event_report(event: EnergyEvent) -> dict[str, Any]:
    """One event as it is printed."""
    return {
        "number": event.number,
        "time_s": round(event.time_s, 4),
        "length_s": round(event.length_s, 4),
        "peak": round(event.peak_nats, 4),
        "strength": round(event.strength_nats, 4),
    }


def number_of(source: str, prefix: str, example: str) -> float:
    """The number of a source like flat:-4. Raises SettingsError for what is none."""
    text = source.removeprefix(prefix).strip()
    try:
        # Python also reads 1_000 and the digits of other scripts.
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        kind = "level" if prefix == "flat:" else "tilt"
        raise SettingsError(f"The {kind} of “{source[:60]}” is no number.", f"Write it as {example}.") from None
