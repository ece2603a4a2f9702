"""The report of a delivery as an HTML page: loudness and provenance of each track and stem."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from rewas_server.delivery.cue_sheet import clip_timecodes, figure_text, highest_frequency_hz, timecodes
from rewas_server.delivery.deliver import DeliveredStem, Delivery
from rewas_server.delivery.metadata import SOFTWARE
from rewas_server.delivery.profiles import Profile
from rewas_server.delivery.provenance import DIGITAL_SOURCE_TYPES, Origin
from rewas_server.delivery.stems import MissingSound, TimelineFacts
from rewas_server.timecode import format_timecode

_PAGES = Path(__file__).parent / "pages"


def report_page(
    delivery: Delivery, profile: Profile, facts: TimelineFacts, missing: Sequence[MissingSound] = ()
) -> str:
    """Return the report as a complete HTML page, without references to other files.

    Args:
        delivery: The delivery.
        profile: Its profile.
        facts: Facts about the timeline.
        missing: Clips without a sound.
    """
    tracks: dict[tuple[str, bool], list[DeliveredStem]] = {}
    for stem in delivery.stems:
        tracks.setdefault((stem.placed.track, stem.placed.is_audible), []).append(stem)
    order = {rule.name: number for number, rule in enumerate(profile.tracks)}
    by_place = sorted(tracks.items(), key=lambda track: (not track[0][1], order.get(track[0][0], len(order))))
    return _template().render(
        facts=facts,
        start=format_timecode(facts.start_s, facts.frame_rate, facts.is_drop_frame),
        rate=_rate_text(facts),
        profile=profile,
        credits=[(name.capitalize(), text) for name, text in vars(profile.credits).items() if text],
        tracks=[_track_row(name, is_audible, stems) for (name, is_audible), stems in by_place],
        rows=[_stem_row(stem, facts) for stem in delivery.stems],
        packs=_packs(delivery.stems),
        notes=delivery.notes,
        missing=[_missing_row(each, facts) for each in missing if each.has_prompt],
        unprompted=[_missing_row(each, facts) for each in missing if not each.has_prompt],
        software=SOFTWARE,
        origins=_origins(delivery.stems),
        recordings=_recordings(delivery.stems),
    )


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html")


def _track_row(name: str, is_audible: bool, stems: Sequence[DeliveredStem]) -> dict[str, Any]:
    peaks = [stem.loudness.max_true_peak_dbtp for stem in stems if stem.loudness.max_true_peak_dbtp is not None]
    loud = [
        (float(stem.placed.duration_s), stem.loudness.integrated_lufs)
        for stem in stems
        if stem.loudness.integrated_lufs is not None
    ]
    power = sum(duration_s * 10 ** (level / 10) for duration_s, level in loud)
    total_s = sum(duration_s for duration_s, _ in loud)
    return {
        "name": name,
        "is_audible": is_audible,
        "count": len(stems),
        "duration": _clock(float(sum(stem.placed.duration_s for stem in stems))),
        "mean": _figure(10 * math.log10(power / total_s) if power else None),
        "loudest": _figure(max((level for _, level in loud), default=None)),
        "peak": _figure(max(peaks, default=None)),
    }


def _stem_row(stem: DeliveredStem, facts: TimelineFacts) -> dict[str, Any]:
    placed, loudness = stem.placed, stem.loudness
    begin, end = timecodes(stem, facts)
    return {
        "number": placed.clip_number,
        "clip": placed.clip_name,
        "file": stem.path.name,
        "track": placed.track,
        "role": placed.role,
        "take": placed.take_number,
        "is_audible": placed.is_audible,
        "begin": begin,
        "end": end,
        "duration": f"{float(placed.duration_s):.2f}",
        "integrated": "silent" if stem.is_silent else _figure(loudness.integrated_lufs),
        "range": _figure(loudness.range_lu),
        "peak": _figure(loudness.max_true_peak_dbtp),
        "momentary": _figure(loudness.max_momentary_lufs),
        "short_term": _figure(loudness.max_short_term_lufs),
        "gain": _figure(stem.gain_db) if stem.gain_db else "",
        "highest_khz": f"{highest_frequency_hz(stem) / 1000:g}",
        "prompt": placed.provenance.prompt,
        "seed": placed.provenance.seed,
        "pack": f"{placed.provenance.pack_name} {placed.provenance.pack_version}",
        "sha256": stem.sha256,
    }


def _missing_row(missing: MissingSound, facts: TimelineFacts) -> dict[str, Any]:
    begin, end = clip_timecodes(missing.position_s, missing.duration_s, facts)
    return {"clip": missing.clip_name, "begin": begin, "end": end, "reason": missing.reason}


def _packs(stems: Sequence[DeliveredStem]) -> list[dict[str, Any]]:
    packs: dict[tuple[str, str, str, str], int] = {}
    for stem in stems:
        origin = stem.placed.provenance
        key = (origin.pack_name, origin.pack_version, origin.licence, origin.permitted_use)
        packs[key] = packs.get(key, 0) + 1
    return [
        {"name": name, "version": version, "licence": licence, "permits": permits, "count": count}
        for (name, version, licence, permits), count in packs.items()
    ]


_ORIGIN_TEXTS: dict[Origin, str] = {
    "model": "generated by a trained model",
    "recordings": "performed from recordings",
    "both": "mixed from generated sound and recordings",
}


def _origins(stems: Sequence[DeliveredStem]) -> list[dict[str, Any]]:
    counts = Counter(stem.placed.provenance.origin for stem in stems)
    return [
        {"count": counts[origin], "text": text, "source_type": DIGITAL_SOURCE_TYPES[origin]}
        for origin, text in _ORIGIN_TEXTS.items()
        if counts[origin]
    ]


def _recordings(stems: Sequence[DeliveredStem]) -> list[dict[str, Any]]:
    counts = Counter(recording for stem in stems for recording in stem.placed.provenance.recordings)
    return [{**vars(recording), "count": count} for recording, count in counts.items()]


def _rate_text(facts: TimelineFacts) -> str:
    rate = facts.frame_rate
    shown = str(rate.numerator) if rate.denominator == 1 else f"{float(rate):.3f} ({rate})"
    return f"{shown} frames per second{', drop-frame' if facts.is_drop_frame else ''}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}"


def _figure(value: float | None) -> str:
    return figure_text(value, decimals=1).replace("-", "−") or "–"
