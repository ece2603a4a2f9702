"""Conversion between the messages of the contract and the types of the engine. No other module converts them."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.transfer import write_problem
from rewas_api.v1 import rewas_pb2
from rewas_engine import (
    Cancelled,
    ConflictError,
    ConflictReport,
    EnergyCurve,
    EnergyEvent,
    EngineError,
    Familiarity,
    InstalledPack,
    InsufficientMemoryError,
    MediaError,
    Note,
    PackError,
    PackInfo,
    ProbedClip,
    SettingsError,
    Suggestion,
    Take,
    TextureCurve,
    UsedRecording,
)
from rewas_engine.curves.texture import BAND_NAMES
from rewas_engine.runtime.memory_errors import is_out_of_memory

if TYPE_CHECKING:
    from rewas_engine import ReWaS

SOURCES = {
    "picture": rewas_pb2.ENERGY_SOURCE_VIDEO,
    "audio": rewas_pb2.ENERGY_SOURCE_AUDIO,
    "user": rewas_pb2.ENERGY_SOURCE_USER,
}
_KINDS: dict[type[EngineError], ProblemKind] = {
    SettingsError: ProblemKind.SETTINGS,
    MediaError: ProblemKind.MEDIA,
    PackError: ProblemKind.PACK,
    ConflictError: ProblemKind.CONFLICT,
    Cancelled: ProblemKind.SETTINGS,
    InsufficientMemoryError: ProblemKind.RESOURCES,
}
_MAX_INT64 = 2**63 - 1
_WRITE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def rational(value: Fraction) -> rewas_pb2.Rational:
    """Convert a fraction to a message. One that does not fit is rounded."""
    if max(abs(value.numerator), value.denominator) > _MAX_INT64:
        value = value.limit_denominator(max(1, _MAX_INT64 // (abs(int(value)) + 1)))
    return rewas_pb2.Rational(numerator=value.numerator, denominator=value.denominator)


def fraction(message: rewas_pb2.Rational, field: str) -> Fraction:
    """Convert a message to a fraction. field: its name, for the error.

    Raises ProblemError (SETTINGS) for a denominator below 1.
    """
    if message.denominator < 1:
        raise ProblemError(
            f"{field} has the denominator {message.denominator}.",
            "Use a denominator of 1 or more.",
            ProblemKind.SETTINGS,
        )
    return Fraction(message.numerator, message.denominator)


def duration(seconds: float) -> Duration:
    """Convert seconds to a message, to the nanosecond."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1_000_000_000))
    return message


def durations(seconds: Mapping[str, float]) -> dict[str, Duration]:
    """Convert seconds by name to messages."""
    return {name: duration(value) for name, value in seconds.items()}


def curve_message(curve: EnergyCurve) -> rewas_pb2.EnergyCurve:
    """Convert an energy curve to a message."""
    return rewas_pb2.EnergyCurve(
        rate_hz=rational(curve.rate_hz), values=curve.values.tolist(), source=SOURCES[curve.source]
    )


def curve_from_message(message: rewas_pb2.EnergyCurve) -> EnergyCurve:
    """Convert a message to an energy curve. Raises ProblemError (SETTINGS) if it is invalid."""
    names = {number: name for name, number in SOURCES.items()}
    try:
        return EnergyCurve(
            values=message.values,  # type: ignore[arg-type]
            rate_hz=fraction(message.rate_hz, "The energy curve's rate"),
            source=names.get(message.source, "user"),
        )
    except EngineError as error:
        raise problem_from_error(error) from error


def event_message(event: EnergyEvent) -> rewas_pb2.EnergyEvent:
    """Convert an event to a message, with times to the microsecond."""
    return rewas_pb2.EnergyEvent(
        number=event.number,
        time_s=rational(Fraction(round(event.time_s * 1_000_000), 1_000_000)),
        duration_s=rational(Fraction(round(event.length_s * 1_000_000), 1_000_000)),
        peak_nats=event.peak_nats,
        strength_nats=event.strength_nats,
    )


def texture_message(texture: TextureCurve) -> rewas_pb2.TextureCurve:
    """Convert a texture to a message."""
    return rewas_pb2.TextureCurve(
        rate_hz=rational(texture.rate_hz), values=texture.values.ravel().tolist(), source=SOURCES[texture.source]
    )


def texture_from_message(message: rewas_pb2.TextureCurve) -> TextureCurve:
    """Convert a message to a texture. Raises ProblemError (SETTINGS) if it is invalid."""
    bands = len(BAND_NAMES)
    if len(message.values) % bands:
        raise ProblemError(
            f"The texture curve has {len(message.values)} values.",
            f"Give {bands} values for each point in time: {', '.join(BAND_NAMES)}.",
            ProblemKind.SETTINGS,
        )
    rows = [message.values[place : place + bands] for place in range(0, len(message.values), bands)]
    names = {number: name for name, number in SOURCES.items()}
    try:
        return TextureCurve(
            values=rows,  # type: ignore[arg-type]
            rate_hz=fraction(message.rate_hz, "The texture curve's rate"),
            source=names.get(message.source, "user"),
        )
    except EngineError as error:
        raise problem_from_error(error) from error


def pack_message(pack: PackInfo | InstalledPack, *, has_matcher: bool = False) -> rewas_pb2.Pack:
    """Convert a pack to a message. A damaged pack comes with its problem.

    has_matcher: Whether a separate CLIP model compares prompts with video.
    """
    if isinstance(pack, InstalledPack):
        if pack.info is None:
            problem = problem_from_error(pack.problem) if pack.problem else None
            return rewas_pb2.Pack(name=pack.name, problem=problem.to_proto() if problem else None)
        message = pack_message(pack.info, has_matcher=has_matcher)
        # Requests use the name of the folder, which may differ from the name in the description.
        message.name = pack.name
        return message
    return rewas_pb2.Pack(
        name=pack.name,
        version=pack.version,
        licence=pack.licence,
        permitted_use=pack.permits,
        sample_rate_hz=pack.sample_rate_hz,
        controls=pack.controls,
        summary=pack.summary,
        checks_conflict=pack.checks_conflict or has_matcher,
        scores_text=pack.scores_words,
        content_sha256=pack.content_sha256,
        is_library=pack.is_library,
        reads_words=pack.reads_words,
    )


def loaded_pack_message(model: ReWaS) -> rewas_pb2.Pack:
    """Convert the pack of a loaded model to a message, including what a separate CLIP model adds."""
    return pack_message(model.pack, has_matcher=model.matcher is not None)


def clip_message(clip: ProbedClip) -> rewas_pb2.ClipInfo:
    """Convert a probed clip to a message."""
    return rewas_pb2.ClipInfo(
        name=clip.name,
        path=str(clip.path.absolute()),
        start_s=rational(clip.start_s),
        duration_s=rational(clip.duration_s),
        frame_rate=rational(clip.frame_rate),
        speed=rational(clip.speed),
    )


def conflict_message(
    report: ConflictReport, clip: ProbedClip | None = None, pack: PackInfo | None = None
) -> rewas_pb2.ConflictResult:
    """Convert a conflict report to a message, with its clip and pack if they are given."""
    return rewas_pb2.ConflictResult(
        clip=None if clip is None else clip_message(clip),
        verdict=enum_names.VERDICT.to_number(report.verdict),
        score=report.score,
        explanation=report.explanation,
        pack=None if pack is None else pack_message(pack, has_matcher=report.verdict != "unsupported"),
        ranges=[
            rewas_pb2.ConflictRange(
                start_s=rational(span.start_s),
                end_s=rational(span.end_s),
                score=span.score,
                best_label=span.looks_like,
            )
            for span in report.spans
        ],
        suggestions=_suggestion_messages(report.suggestions),
        encoder=report.encoder,
    )


def suggestions_message(
    suggestions: Sequence[Suggestion], clip: ProbedClip, pack: PackInfo
) -> rewas_pb2.ConflictResult:
    """Convert suggested prompts to a message without a verdict."""
    return rewas_pb2.ConflictResult(
        clip=clip_message(clip),
        explanation=f"The video looks like “{suggestions[0].text}”."
        if suggestions
        else "The video shows nothing that the model knows well enough.",
        pack=pack_message(pack, has_matcher=True),
        suggestions=_suggestion_messages(suggestions),
    )


def _suggestion_messages(suggestions: Sequence[Suggestion]) -> list[rewas_pb2.PromptSuggestion]:
    return [
        rewas_pb2.PromptSuggestion(prompt=suggestion.text, score=suggestion.score, source=suggestion.source)
        for suggestion in suggestions
    ]


def note_message(note: Note) -> rewas_pb2.Note:
    """Convert a note to a message."""
    return rewas_pb2.Note(kind=enum_names.NOTE_KIND.to_number(note.kind.replace("_", "-")), text=note.text)


def familiarity_message(familiarity: Familiarity) -> rewas_pb2.Familiarity:
    """Convert the familiarity of a prompt to a message."""
    return rewas_pb2.Familiarity(
        known=familiarity.is_known, score=familiarity.score, nearest_prompts=familiarity.nearest
    )


def take_message(take: Take, stems: Sequence[rewas_pb2.Stem]) -> rewas_pb2.Take:
    """Convert a take to a message. stems: as they were delivered."""
    return rewas_pb2.Take(
        seed=take.seed,
        stems=stems,
        energy_mae_nats=take.energy_mae_nats,
        energy_correlation=take.energy_correlation,
        output_energy=curve_message(take.produced_energy),
        text_score=take.text_score,
        score=take.score,
        level_gain_db=take.level_gain_db,
        faults=[enum_names.TAKE_FAULT.to_number(fault) for fault in take.faults],
        replaced_seed=take.replaced_seed,
        layers=[
            rewas_pb2.LayerResult(
                name=name,
                seed=report.seed,
                requested_energy=curve_message(report.requested_energy),
                output_energy=curve_message(report.produced_energy),
                energy_mae_nats=report.energy_mae_nats,
                energy_correlation=report.energy_correlation,
                text_score=report.text_score,
                faults=[enum_names.TAKE_FAULT.to_number(fault) for fault in report.faults],
                recordings=_recording_messages(report.recordings),
                pack=pack_message(report.pack),
            )
            for name, report in take.layers.items()
        ],
        output_texture=None if take.produced_texture is None else texture_message(take.produced_texture),
        texture_mae_nats=take.texture_error_nats,
        reference_distance_db=take.reference_distance_db,
        recordings=_recording_messages(take.recordings),
        avh_score=take.avh_score,
    )


def _recording_messages(recordings: Sequence[UsedRecording]) -> list[rewas_pb2.UsedRecording]:
    return [rewas_pb2.UsedRecording(**vars(recording)) for recording in recordings]


def internal_problem(reference: str) -> ProblemError:
    """Return the problem to report for a bug on a server. reference: what the log names it by."""
    return ProblemError(
        f"Unexpected error in the server (number {reference}).",
        "Try again. If it happens again, report it with the lines of the server's log that name this number.",
        ProblemKind.INTERNAL,
    )


def job_problem(error: Exception, job_id: str, state_dir: Path) -> ProblemError:
    """Return the problem of a failed job: without the text of a bug, and without paths of the state folder."""
    problem = problem_from_error(error)
    if problem.kind is ProblemKind.INTERNAL and not isinstance(error, ProblemError | EngineError):
        return internal_problem(job_id)
    what, remedy = (text.replace(f"{state_dir}/", "").strip() for text in (problem.what, problem.remedy))
    return ProblemError(what, remedy, problem.kind)


def problem_from_error(error: BaseException) -> ProblemError:
    """Return the problem to report for an error of the engine, the disk or the memory, or for a bug of ReWaS."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, EngineError):
        kinds = [kind for known, kind in _KINDS.items() if isinstance(error, known)]
        return ProblemError(error.what, error.remedy, kinds[0] if kinds else ProblemKind.INTERNAL)
    if isinstance(error, OSError) and error.filename and error.errno in _WRITE_ERRNOS:
        return write_problem(Path(error.filename), error)
    if is_out_of_memory(error):
        return ProblemError(
            "Out of memory.",
            "Choose a shorter clip or fewer takes, or close other programs.",
            ProblemKind.RESOURCES,
        )
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return ProblemError(
            f"The file{where} could not be read or written ({error.strerror or error}).",
            "Check that the folder exists and is writable, and that the disk is not full.",
            ProblemKind.RESOURCES,
        )
    return ProblemError(
        f"Unexpected error in ReWaS ({type(error).__name__}: {error}).",
        "Try again. If it happens again, report it with the log.",
        ProblemKind.INTERNAL,
    )
