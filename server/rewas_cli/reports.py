"""Results as JSON and as text: the same for work in this process and on a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration

from rewas_api import enum_names
from rewas_api.clip_settings import ClipSettings
from rewas_api.errors import ProblemError
from rewas_api.v1 import rewas_pb2
from rewas_cli.console import printable
from rewas_engine.curves.texture import BAND_NAMES
from rewas_engine.media.stem import PRIMARY
from rewas_server.delivery.credits import CREDITS_FILE
from rewas_server.files.media import local_path
from rewas_server.work.stem_provenance import recordings_from
from rewas_server.work.translation import SOURCES, texture_from_message

if TYPE_CHECKING:
    from rewas_server.batch.stem_delivery import SoundedClip
    from rewas_server.delivery.deliver import DeliveredStem, Delivery

NO_LICENCE = "no stated licence"
_MAX_LISTED_RECORDINGS = 4

Report = dict[str, Any]
StemPaths = Mapping[str, Path]
"""Artifact.name -> the file on this machine."""


def sound_report(result: rewas_pb2.SoundResult, media: Path, stem_paths: StemPaths) -> Report:
    """A clip's sound. media: the clip's file on this machine."""
    produced = result.takes[0].output_energy.values if result.takes else []
    return {
        "clip": clip_report(result.clip, media),
        "pack": _pack_identity(result.pack),
        "prompt": result.settings.prompt,
        "settings": _settings(result.settings),
        "takes": [_take(take, stem_paths) for take in result.takes],
        "energy": {
            "rate_hz": _number(result.requested_energy.rate_hz),
            "source": _source_name(result.requested_energy.source),
            "requested": list(result.requested_energy.values),
            "produced": list(produced),
        },
        "cuts_s": [_number(cut) for cut in result.cuts_s],
        "texture": _requested_texture_report(result),
        "conflict": _verdict_report(result.conflict) if result.HasField("conflict") else None,
        "prompt_weight": result.prompt_weight if result.HasField("prompt_weight") else 1.0,
        "notes": note_reports(result.notes),
        "familiarity": _familiarity_report(result.familiarity) if result.HasField("familiarity") else None,
        "timings_s": _seconds(result.timings),
    }


def batch_clip_reports(clips: Sequence[SoundedClip], delivery: Delivery) -> list[Report]:
    """The clips of a batch: the sound of each, or why it has none."""
    delivered: dict[int, list[DeliveredStem]] = {}
    for stem in delivery.stems:
        delivered.setdefault(stem.stem.clip_number, []).append(stem)
    return [_batch_clip_report(clip, delivered.get(clip.outcome.number, [])) for clip in clips]


def problem_report(problem: ProblemError) -> Report:
    """A problem: what happened, what helps, and its kind."""
    return {"what": problem.what, "remedy": problem.remedy, "kind": problem.kind.name}


def _batch_clip_report(clip: SoundedClip, delivered: Sequence[DeliveredStem]) -> Report:
    outcome, picture, place = clip.outcome, clip.listed.picture, clip.listed.clip
    # A sound may be for a part of the picture.
    position_s = picture.position_s if place is None else place.position_s
    where = {
        "number": outcome.number,
        "position_s": None if position_s is None else float(position_s),
        "origin": outcome.origin,
        "prompt_origin": clip.listed.prompt_origin,
    }
    if clip.result is None or place is None:
        problem = outcome.problem
        assert problem is not None
        return {
            "clip": {"name": picture.name},
            **where,
            "problem": problem_report(problem),
        }
    paths = {stem.stem.path.name: stem.path for stem in delivered}
    report = sound_report(clip.result, local_path(place.source.target_url), paths)
    # The sound may be that of another clip with the same picture, or longer.
    source = place.source
    shown = {
        "start_s": float(source.start_s),
        "duration_s": float(place.duration_s),
        "speed": report["clip"]["speed"] and float(source.speed),  # A still has none, whatever its timeline says.
    }
    report["clip"] |= {"name": picture.name, **shown}
    for stem in delivered:
        held = report["takes"][stem.stem.take_number - 1]["stems"][stem.stem.role]
        held |= {
            "sample_rate": stem.placed.sample_rate_hz,
            "channels": stem.placed.channels,
            "samples": stem.placed.samples,
            "sha256": stem.sha256,
        }
    return {**report, **where, "problem": None}


def energy_report(result: rewas_pb2.EnergyResult, media: Path) -> Report:
    """A clip's energy curve."""
    return {
        "clip": clip_report(result.clip, media),
        # A given curve needs no pack.
        "pack": _pack_identity(result.pack) if result.HasField("pack") else None,
        "rate_hz": _number(result.energy.rate_hz),
        "values": list(result.energy.values),
        "source": _source_name(result.energy.source),
        "notes": note_reports(result.notes),
        "timings_s": _seconds(result.timings),
    }


def note_reports(notes: Iterable[rewas_pb2.Note]) -> list[Report]:
    """Notes, each once."""
    reports = [{"kind": enum_names.NOTE_KIND.to_name(note.kind), "text": note.text} for note in notes]
    return [report for number, report in enumerate(reports) if report not in reports[:number]]


def texture_report(texture: rewas_pb2.TextureCurve) -> Report:
    """A texture: rows of four bands, from low to high, and the tilt of each."""
    curve = texture_from_message(texture)
    return {
        "rate_hz": float(curve.rate_hz),
        "bands": list(BAND_NAMES),
        "values": curve.values.tolist(),
        "tilt": curve.tilt_nats.tolist(),
        "source": curve.source,
    }


def conflict_report(result: rewas_pb2.ConflictResult, prompt: str, media: Path) -> Report:
    """The verdict on a prompt and a clip."""
    return {
        "clip": clip_report(result.clip, media),
        "pack": _pack_identity(result.pack),
        "prompt": prompt,
        **_verdict_report(result),
    }


def pack_report(pack: rewas_pb2.Pack) -> Report:
    """One installed pack."""
    problem = pack.problem if pack.HasField("problem") else None
    return {
        **_pack_identity(pack),
        "permits": pack.permitted_use,
        "sample_rate": pack.sample_rate_hz,
        "controls": list(pack.controls),
        "checks_conflict": pack.checks_conflict,
        "scores_words": pack.scores_text,
        "is_library": pack.is_library,
        "reads_words": pack.reads_words,
        "summary": pack.summary,
        "problem": {"what": problem.what, "remedy": problem.remedy} if problem else None,
    }


def clip_report(clip: rewas_pb2.ClipInfo, media: Path) -> Report:
    """The clip as it was read, with all defaults filled in."""
    return {
        "name": clip.name,
        "path": str(media),
        "start_s": _number(clip.start_s),
        "duration_s": _number(clip.duration_s),
        "speed": _number(clip.speed),
        # Media without video has none.
        "frame_rate": f"{clip.frame_rate.numerator}/{clip.frame_rate.denominator}"
        if clip.frame_rate.numerator
        else None,
    }


def shown_range(clip: Mapping[str, Any]) -> str:
    """What a clip shows of its media, as text. clip: from `clip_report`."""
    start_s, duration_s, speed = clip["start_s"], clip["duration_s"], clip["speed"]
    if not speed:
        return f"a still picture for {duration_s:g} s"
    text = f"{start_s:g} s to {start_s + duration_s * speed:g} s"
    return text if speed == 1 else f"{text} at {100 * speed:.4g} % speed"


def sound_lines(report: Report, origin: str = "generated with") -> list[str]:
    """A clip's sound as lines of text. origin: what stands before the name of the pack."""
    clip, pack = report["clip"], report["pack"]
    lines = [
        f"{clip['name']}, {shown_range(clip)}: “{report['prompt']}”, "
        f"{origin} {pack['name']} {pack['version']} ({pack['licence'] or NO_LICENCE})"
    ]
    if report["cuts_s"]:
        lines.append(f"  new sound at {', '.join(f'{cut_s:.2f} s' for cut_s in report['cuts_s'])}")
    if report["conflict"] is not None:
        first, *more = conflict_lines(report["conflict"])
        weighed = report["prompt_weight"]
        lines += [f"  prompt and video: {first}", *(f"  {line}" for line in more)]
        lines += [f"    prompt weight {weighed:.2f}"] if weighed < 1 else []
    lines += [f"  {line}" for line in note_lines(report)]
    for number, take in enumerate(report["takes"], start=1):
        scored = "" if take["score"] is None else f" score {take['score']:.2f}:"
        lines.append(f"  take {number}, seed {take['seed']}:{scored} {_agreement_line(take)}")
        if take["avh_score"] is not None:
            lines.append(f"    AVHScore: {take['avh_score']:.3f}")
        if take["reference_distance_db"] is not None:
            lines.append(f"    spectrum: {take['reference_distance_db']:.1f} dB from the reference sound")
        if take["texture_error"] is not None:
            lines.append(f"    texture: {take['texture_error']:.2f} nats off on average")
        if take["faults"]:
            lines.append(f"    do not use: {', '.join(take['faults'])}")
        if take["instead_of_seed"] is not None:
            lines.append(f"    replaces the take with seed {take['instead_of_seed']}, which had faults")
        for role, stem in take["stems"].items():
            lines.append(f"    {role}: {stem['path']} ({stem['sample_rate']} Hz, {stem['samples']} samples)")
            if role in take["layers"]:
                layer = take["layers"][role]
                made = "" if layer["pack"]["name"] == pack["name"] else f"made with {layer['pack']['name']}, "
                lines.append(f"      {made}{_agreement_line(layer)}")
                lines += [f"      {line}" for line in _recording_lines(layer["recordings"])]
            elif role == PRIMARY:
                lines += [f"      {line}" for line in _recording_lines(take["recordings"])]
    return lines + ([f"  credits: {report['credits']}"] if report.get("credits") else [])


def _recording_lines(recordings: Sequence[Report]) -> list[str]:
    """The recordings of a stem as lines of text; only the first of many."""
    lines = []
    for recording in recordings[:_MAX_LISTED_RECORDINGS]:
        terms = ", ".join(filter(None, (recording["licence"], recording["credit"])))
        lines.append(printable(f"recording: {recording['name']}" + (f" ({terms})" if terms else "")))
    more = len(recordings) - len(lines)
    return [*lines, f"and {more} more in {CREDITS_FILE}"] if more > 0 else lines


def batch_lines(clips: Sequence[Report], timeline: Path, is_verbose: bool) -> list[str]:
    """The clips of a batch as lines of text, those without a sound last.

    Args:
        clips: See `batch_clip_reports`.
        timeline: The file that was written.
        is_verbose: Whether to print also the clips that have kept their sounds.
    """
    failed = [clip for clip in clips if clip["problem"] is not None]
    lines = []
    for clip in clips:
        if clip["problem"] is None and (is_verbose or clip["origin"] != "kept"):
            lines += sound_lines(clip, _ORIGINS[clip["origin"]])
    lines += [f"timeline: {timeline}", _count_origins(clips)]
    if failed:
        lines.append(f"{len(failed)} of {len(clips)} clips failed:")
        lines += [f"  {clip['clip']['name']}: {clip['problem']['what']} {clip['problem']['remedy']}" for clip in failed]
    return lines


_ORIGINS = {
    "generated": "generated with",
    "kept": "kept from an earlier run, generated with",
    "cut": "cut from a longer sound, generated with",
}


def _count_origins(clips: Sequence[Report]) -> str:
    counts = Counter(clip["origin"] for clip in clips)
    said = {"generated": "generated", "kept": "kept", "cut": "cut from longer ones"}
    found = [f"{counts[origin]} {words}" for origin, words in said.items() if counts[origin]]
    return f"sounds: {', '.join(found)}"


def note_lines(report: Mapping[str, Any]) -> list[str]:
    """The notes of a report as lines of text."""
    return [f"note: {note['text']}" for note in report["notes"]]


def _agreement_line(sound: Report) -> str:
    """How well a take or a layer follows its energy and its prompt."""
    match = sound["energy_correlation"]
    followed = f"follows the energy with correlation {match:.2f}" if match is not None else "energy is constant"
    said = "" if sound["text_score"] is None else f", matches the prompt with {sound['text_score']:.2f}"
    return f"{followed}, {sound['energy_mae']:.2f} nats off on average{said}"


def conflict_lines(report: Report) -> list[str]:
    """A verdict as lines of text."""
    score = "" if report["score"] is None else f" ({report['score']:.2f})"
    lines = [f"{report['verdict']}{score}. {report['explanation']}"]
    lines += [
        f"  {span['start_s']:.1f} s to {span['end_s']:.1f} s: looks like “{span['looks_like']}” "
        f"({span['score']:.2f} for the prompt)"
        for span in report["moments"]
    ]
    if "avh_encoder" in report:
        measured = "the sound is silent" if report["avh_score"] is None else f"{report['avh_score']:.3f}"
        lines.append(f"  AVHScore of the clip's own sound: {measured}, by {report['avh_encoder']}")
    better = ", ".join(f"“{prompt['words']}” ({prompt['score']:.2f})" for prompt in report["suggestions"])
    return [*lines, f"  better prompts: {better}"] if better else lines


def _verdict_report(result: rewas_pb2.ConflictResult) -> Report:
    return {
        "verdict": enum_names.VERDICT.to_name(result.verdict),
        "score": result.score if result.HasField("score") else None,
        "explanation": result.explanation,
        "moments": [
            {
                "start_s": _number(span.start_s),
                "end_s": _number(span.end_s),
                "score": span.score,
                "looks_like": span.best_label,
            }
            for span in result.ranges
        ],
        "suggestions": [
            {"words": suggestion.prompt, "score": suggestion.score, "source": suggestion.source}
            for suggestion in result.suggestions
        ],
        "encoder": result.encoder or None,
        **_avh_report(result),
    }


def _avh_report(result: rewas_pb2.ConflictResult) -> Report:
    """The AVHScore of the clip's own sound; empty if it was not measured."""
    if not result.avh_encoder:
        return {}
    score = result.avh_score if result.HasField("avh_score") else None
    return {"avh_score": score, "avh_encoder": result.avh_encoder}


def _take(take: rewas_pb2.Take, stem_paths: StemPaths) -> Report:
    return {
        "seed": take.seed,
        "stems": {
            stem.role: {
                "path": str(stem_paths[stem.artifact.name]),
                "sample_rate": stem.sample_rate_hz,
                "channels": stem.channels,
                "samples": stem.samples,
                "sha256": stem.artifact.sha256,
            }
            for stem in take.stems
            if stem.artifact.name in stem_paths
        },
        "energy_mae": take.energy_mae_nats,
        "energy_correlation": take.energy_correlation if take.HasField("energy_correlation") else None,
        "energy_produced": list(take.output_energy.values),
        "text_score": take.text_score if take.HasField("text_score") else None,
        "score": take.score if take.HasField("score") else None,
        "avh_score": take.avh_score if take.HasField("avh_score") else None,
        "level_gain_db": take.level_gain_db,
        "faults": [enum_names.TAKE_FAULT.to_name(fault) for fault in take.faults],
        "reference_distance_db": take.reference_distance_db if take.HasField("reference_distance_db") else None,
        "texture_error": take.texture_mae_nats if take.HasField("texture_mae_nats") else None,
        "texture_produced": texture_report(take.output_texture) if take.HasField("output_texture") else None,
        "recordings": _recording_reports(take.recordings),
        "layers": {layer.name: _layer_report(layer) for layer in take.layers},
        "instead_of_seed": take.replaced_seed if take.HasField("replaced_seed") else None,
    }


def _familiarity_report(familiarity: rewas_pb2.Familiarity) -> Report:
    return {
        "known": familiarity.known,
        "score": familiarity.score,
        "nearest_prompts": list(familiarity.nearest_prompts),
    }


def _requested_texture_report(result: rewas_pb2.SoundResult) -> Report | None:
    return texture_report(result.requested_texture) if result.HasField("requested_texture") else None


def _layer_report(layer: rewas_pb2.LayerResult) -> Report:
    return {
        "seed": layer.seed,
        "energy_mae": layer.energy_mae_nats,
        "energy_correlation": layer.energy_correlation if layer.HasField("energy_correlation") else None,
        "energy_requested": list(layer.requested_energy.values),
        "energy_produced": list(layer.output_energy.values),
        "text_score": layer.text_score if layer.HasField("text_score") else None,
        "faults": [enum_names.TAKE_FAULT.to_name(fault) for fault in layer.faults],
        "pack": _pack_identity(layer.pack),
        "recordings": _recording_reports(layer.recordings),
    }


def _recording_reports(recordings: Iterable[rewas_pb2.UsedRecording]) -> list[Report]:
    return [vars(used) for used in recordings_from(recordings)]


def _settings(settings: rewas_pb2.SoundSettings) -> Report:
    metadata = ClipSettings.from_proto(settings).to_metadata()
    return {name: value for name, value in metadata.items() if name != "prompt"}


def _pack_identity(pack: rewas_pb2.Pack) -> Report:
    return {"name": pack.name, "version": pack.version, "licence": pack.licence}


def _seconds(timings: Mapping[str, Duration]) -> dict[str, float]:
    return {name: timing.ToNanoseconds() / 1_000_000_000 for name, timing in timings.items()}


def _number(rational: rewas_pb2.Rational) -> float:
    return rational.numerator / rational.denominator if rational.denominator else 0.0


def _source_name(source: int) -> str:
    return next((name for name, number in SOURCES.items() if number == source), "unknown")
