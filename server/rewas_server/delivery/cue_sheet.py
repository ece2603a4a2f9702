"""Cue sheets and reports as CSV: which sound is audible when, how loud it is, and how it was generated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from rewas_server.delivery.csv_tables import csv_text
from rewas_server.delivery.deliver import DeliveredStem
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stems import MissingSound, TimelineFacts
from rewas_server.timecode import format_timecode

_CUE_COLUMNS = (
    "Timecode in",
    "Timecode out",
    "Duration",
    "Clip",
    "Role",
    "Track",
    "Prompt",
    "File",
    "Recordings",
    "Credits",
)
_REPORT_COLUMNS = (
    "File",
    "Clip",
    "Number",
    "Role",
    "Take",
    "Track",
    "Audible",
    "Timecode in",
    "Timecode out",
    "Duration in s",
    "Handle before in frames",
    "Handle after in frames",
    "Sample rate in Hz",
    "Channels",
    "Samples",
    "Time reference in samples",
    "Highest frequency in Hz",
    "Integrated loudness in LUFS",
    "Loudness range in LU",
    "True peak in dBTP",
    "Momentary loudness in LUFS",
    "Short-term loudness in LUFS",
    "Silent",
    "Gain in dB",
    "Prompt",
    "Seed",
    "Pack",
    "Version",
    "Licence",
    "Permitted use",
    "Digital source type",
    "Recordings",
    "Credits",
    "SHA-256",
    "Reason for missing sound",
)


def cue_sheet(stems: Iterable[DeliveredStem], facts: TimelineFacts) -> str:
    """Return the cue sheet of the audible stems as CSV, by position."""
    audible = sorted((each for each in stems if each.placed.is_audible), key=lambda each: each.placed.position_s)
    rows = []
    for each in audible:
        placed = each.placed
        begin, end = timecodes(each, facts)
        duration = format_timecode(placed.duration_s, facts.frame_rate, drop_frame=False)
        rows.append(
            (
                begin,
                end,
                duration,
                placed.clip_name,
                placed.role,
                placed.track,
                placed.provenance.prompt,
                each.path.name,
                _recording_names(placed.provenance),
                placed.provenance.credits,
            )
        )
    return csv_text(_CUE_COLUMNS, rows)


def report_table(stems: Iterable[DeliveredStem], facts: TimelineFacts, missing: Sequence[MissingSound] = ()) -> str:
    """Return loudness and provenance of all stems as CSV, in their order.

    Clips without a sound follow, with the reason in the last column.
    """
    rows: list[Sequence[object]] = []
    for each in stems:
        placed, provenance, loudness = each.placed, each.placed.provenance, each.loudness
        rows.append(
            (
                each.path.name,
                placed.clip_name,
                placed.clip_number,
                placed.role,
                placed.take_number,
                placed.track,
                "yes" if placed.is_audible else "no",
                *timecodes(each, facts),
                _decimal(placed.duration_s),
                round(placed.head_handle_s * facts.frame_rate),
                round(placed.tail_handle_s * facts.frame_rate),
                placed.sample_rate_hz,
                placed.channels,
                placed.samples,
                placed.time_reference_samples,
                highest_frequency_hz(each),
                figure_text(loudness.integrated_lufs),
                figure_text(loudness.range_lu),
                figure_text(loudness.max_true_peak_dbtp),
                figure_text(loudness.max_momentary_lufs),
                figure_text(loudness.max_short_term_lufs),
                "yes" if each.is_silent else "no",
                figure_text(each.gain_db),
                provenance.prompt,
                provenance.seed,
                provenance.pack_name,
                provenance.pack_version,
                provenance.licence,
                provenance.permitted_use,
                provenance.digital_source_type,
                _recording_names(provenance),
                provenance.credits,
                each.sha256,
                "",
            )
        )
    for clip in missing:
        begin, end = clip_timecodes(clip.position_s, clip.duration_s, facts)
        cells = {
            "Clip": clip.clip_name,
            "Number": clip.clip_number,
            "Timecode in": begin,
            "Timecode out": end,
            "Duration in s": _decimal(clip.duration_s),
            "Reason for missing sound": clip.reason,
        }
        rows.append([cells.get(column, "") for column in _REPORT_COLUMNS])
    return csv_text(_REPORT_COLUMNS, rows)


def _recording_names(provenance: Provenance) -> str:
    return "; ".join(recording.name for recording in provenance.recordings)


def timecodes(stem: DeliveredStem, facts: TimelineFacts) -> tuple[str, str]:
    """Return the timecodes of a clip's first frame, and of the frame after its last one."""
    return clip_timecodes(stem.placed.position_s, stem.placed.duration_s, facts)


def clip_timecodes(position_s: Fraction | None, duration_s: Fraction, facts: TimelineFacts) -> tuple[str, str]:
    """Return the timecodes of a clip's first frame, and of the frame after its last one; "" without a position."""
    if position_s is None:
        return "", ""
    begin_s = facts.start_s + position_s
    begin, end = (
        format_timecode(time_s, facts.frame_rate, facts.is_drop_frame) for time_s in (begin_s, begin_s + duration_s)
    )
    return begin, end


def highest_frequency_hz(stem: DeliveredStem) -> int:
    """Return the highest frequency that a sound can have, which the sample rate of its pack limits."""
    return min(stem.stem.model_rate_hz or stem.placed.sample_rate_hz, stem.placed.sample_rate_hz) // 2


def figure_text(value: float | None, decimals: int = 2) -> str:
    """Return a figure with some decimals, "" if it is not known."""
    # Adding 0 turns -0 into 0.
    return "" if value is None else f"{round(value, decimals) + 0:.{decimals}f}"


def _decimal(seconds: Fraction) -> str:
    return f"{float(seconds):.6f}".rstrip("0").rstrip(".")
