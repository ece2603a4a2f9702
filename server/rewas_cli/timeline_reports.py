"""The report of `rewas timeline check` on the clips of a timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewas_cli.console import OutputLost, printable
from rewas_server.otio.clips import ClipSource, timeline_frame_rate, timeline_start_s
from rewas_server.otio.frame_timeline import is_drop_frame
from rewas_server.otio.media_links import MediaLink
from rewas_server.otio.planning import ClipList, ClipState, ListedClip
from rewas_server.otio.reading import OpenedTimeline
from rewas_server.timecode import format_timecode

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_MAX_FRAME_RATE_HZ = 1000
_MAX_NAME_CHARACTERS = 60
_MAX_TABLE_ROWS = 1000
"""Longer timelines are printed as lines: the layout of a table takes a millisecond for each row."""
_STYLES = {ClipState.READY: "", ClipState.NO_PROMPT: "dim", ClipState.HIDDEN: "dim", ClipState.REFUSED: "red"}
_COUNTS = {
    ClipState.READY: ("clip gets a sound", "clips get a sound"),
    ClipState.REFUSED: ("has a prompt but cannot get one", "have a prompt but cannot get one"),
    ClipState.NO_PROMPT: ("has no prompt", "have no prompt"),
    ClipState.HIDDEN: ("is not visible", "are not visible"),
}


def check_report(file: Path, opened: OpenedTimeline, listed: ClipList) -> dict[str, Any]:
    """Return the report of a check as one JSON object."""
    timeline = opened.timeline
    rate, start_s = timeline_frame_rate(timeline), timeline_start_s(timeline)
    is_drop = is_drop_frame(timeline, rate)
    counts = Counter(each.state for each in listed.clips)
    return {
        "file": str(file.absolute()),
        "timeline": timeline.name,
        "frame_rate": str(rate),
        "start": format_timecode(start_s, rate, is_drop),
        "counts": {state.value: counts[state] for state in ClipState},
        "notes": [*opened.notes, *listed.notes],
        "problems": [{"what": problem.what, "remedy": problem.remedy} for problem in listed.problems],
        "clips": [
            _clip_report(number, each, rate, start_s, is_drop) for number, each in enumerate(listed.clips, start=1)
        ],
    }


def _clip_report(number: int, listed: ListedClip, rate: Fraction, start_s: Fraction, is_drop: bool) -> dict[str, Any]:
    picture = listed.picture
    placed = listed.clip or picture
    position_s, duration_s = placed.position_s, placed.duration_s
    is_placed = position_s is not None
    return {
        "number": number,
        "state": listed.state.value,
        "name": picture.name,
        "part": picture.part,
        "track": picture.track_name,
        "path": list(picture.path),
        "in": format_timecode(start_s + position_s, rate, is_drop) if position_s is not None else None,
        "out": format_timecode(start_s + position_s + duration_s, rate, is_drop) if position_s is not None else None,
        "position_s": float(position_s) if position_s is not None else None,
        "duration_s": float(duration_s) if is_placed else None,
        "source": None if picture.source is None else _source_report((listed.clip or picture).source),
        "media": _media_report(listed.media),
        "prompt": "" if listed.clip is None else listed.clip.settings.prompt,
        "prompt_origin": listed.prompt_origin,
        "reason": picture.hidden or listed.note or ("" if listed.problem is None else listed.problem.what),
        "remedy": "" if listed.problem is None else listed.problem.remedy,
    }


def _media_report(link: MediaLink | None) -> dict[str, Any] | None:
    if link is None:
        return None
    return {
        "location": link.location,
        "path": None if link.path is None else str(link.path),
        "found": link.change or ("as stated" if link.path is not None else "not"),
        "notes": list(link.notes),
    }


def _source_report(source: ClipSource | None) -> dict[str, Any] | None:
    if source is None:
        return None
    rate = source.frame_rate
    begin_s, end_s = source.covered_s if source.duration_s is not None else (source.start_s, None)
    timecodes: tuple[str | None, str | None] = (None, None)
    if rate is not None and rate <= _MAX_FRAME_RATE_HZ and end_s is not None:
        timecodes = (
            format_timecode(source.timecode_s, rate),
            format_timecode(source.timecode_s + end_s - begin_s, rate),
        )
    return {
        "media": source.target_url,
        "start_s": float(source.start_s),
        "in": timecodes[0],
        "out": timecodes[1],
        "frame_rate": None if rate is None else str(rate),
        "speed": float(source.speed),
    }


def print_check(report: Mapping[str, Any]) -> None:
    """Print a check as a table. Raises OutputLost."""
    from rich.console import Console

    console = Console(highlight=False)
    try:
        rate_hz = float(Fraction(report["frame_rate"]))
        title = f"{printable(report['timeline'])}: {rate_hz:.6g} frames per second, from {report['start']}"
        console.print(title, markup=False, soft_wrap=True)
        if len(report["clips"]) > _MAX_TABLE_ROWS:
            for line in _lines(report["clips"]):
                console.file.write(f"{line}\n")
        elif report["clips"]:
            console.print(_table(report["clips"]))
        for note in report["notes"]:
            console.print(f"Note: {printable(note)}", markup=False, soft_wrap=True)
        for problem in report["problems"]:
            console.print(
                printable(f"{problem['what']} {problem['remedy']}"), style="red", markup=False, soft_wrap=True
            )
        console.print(summary(report["counts"]), markup=False, soft_wrap=True)
        console.file.flush()
    except OSError as error:
        raise OutputLost(error) from error


def summary(counts: Mapping[str, int]) -> str:
    """Return the numbers of clips as a sentence."""
    parts = []
    for state, (one, many) in _COUNTS.items():
        count = counts[state.value]
        if count or state is ClipState.READY:
            parts.append(f"{count} {one if count == 1 else many}")
    return f"{', '.join(parts)}."


def _table(clips: Sequence[Mapping[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("Timeline", no_wrap=True, min_width=11)
    table.add_column("Source", no_wrap=True, min_width=11)
    table.add_column("Clip", ratio=2, overflow="fold")
    table.add_column("Sound", ratio=3, overflow="fold")
    for clip in clips:
        source = clip["source"] or {"in": None, "out": None, "speed": 1.0}
        name = printable(clip["name"])
        name = name if len(name) <= _MAX_NAME_CHARACTERS else f"{name[: _MAX_NAME_CHARACTERS - 1]}…"
        name += f" (part {clip['part']})" if clip["part"] > 1 else ""
        style = _STYLES[ClipState(clip["state"])]
        speed = "" if source["speed"] == 1 else f"\n{_speed(source['speed'])}"
        table.add_row(
            Text(str(clip["number"]), style),
            Text(_range(clip["in"], clip["out"]), style),
            Text(_range(source["in"], source["out"]) + speed, style),
            Text(f"{name}\n{printable(clip['track'])}", style),
            _sound(clip),
        )
    return table


def _lines(clips: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for clip in clips:
        times = " ".join([clip["in"] or "-", clip["out"] or "-"])
        state = ClipState(clip["state"])
        what = clip["prompt"] if state is ClipState.READY else clip["reason"]
        if state is ClipState.NO_PROMPT:
            what = f"No prompt. {what}"
        name, track = clip["name"][:_MAX_NAME_CHARACTERS], clip["track"]
        yield printable(f"{clip['number']:>5} {times} {track} {name}: {what} {clip['remedy']}".rstrip())


def _speed(speed: float) -> str:
    return "freeze" if speed == 0 else f"{speed:.6g} × speed"


def _range(begin: str | None, end: str | None) -> str:
    return "" if begin is None else f"{begin}\n{end}"


def _sound(clip: Mapping[str, Any]) -> Text:
    from rich.text import Text

    state = ClipState(clip["state"])
    notes = [] if clip["media"] is None else clip["media"]["notes"]
    prompt, reason, remedy = (printable(clip[key]) for key in ("prompt", "reason", "remedy"))
    if state is ClipState.READY:
        lines = [f"(from {printable(clip['prompt_origin'])})", *(f"Note: {printable(note)}" for note in notes)]
        return Text(prompt).append("\n" + "\n".join(lines), "dim")
    if state is ClipState.REFUSED:
        return Text(f"{reason} ", "red").append(remedy, "")
    lines = ["No prompt."] if state is ClipState.NO_PROMPT else []
    lines += [reason] if reason else []
    return Text(" ".join(lines), "dim")
