"""Reads Kdenlive projects with OTIO's adapter, which loses the media and the speed of retimed clips.

A retimed clip shows a `timewarp` producer: a file in its own time, in which it is longer or shorter by the speed. Frame
n of it shows frame n * speed of the media; backwards, frame 0 shows the end (MLT, producer_timewarp). So the adapter
gets these producers as plain files with the speed in front of the path, and the clips are corrected afterwards. A clip
with a `timeremap` link changes its speed as it plays.

Kdenlive stores markers with the file. Each clip gets those that it shows.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any
from xml.etree.ElementTree import Element, tostring

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.clips import timelines_in
from rewas_server.otio.exact_times import exact_rate, exact_seconds, rational_time

_MARK = re.compile(r"rewas-speed (?P<speed>\S+) (?P<url>.*)", re.DOTALL)
_VARIABLE = "variable"
_URL_PROPERTIES = ("kdenlive:originalurl", "warp_resource", "resource")
_SPEED_BEFORE_PATH = re.compile(r"-?\d+(\.\d+)?:")


def read_kdenlive(text: bytes, name: str) -> Any:
    """Read the timeline of a Kdenlive project.

    Args:
        text: Its content, checked to be well-formed and without entities.
        name: Name of the file, for errors.

    Raises ProblemError (TIMELINE) for an invalid speed, or what the adapter raises.
    """
    from defusedxml.ElementTree import fromstring

    root = fromstring(text, forbid_dtd=False)
    for producer in (*root.iter("producer"), *root.iter("chain")):
        _mark_retimed(producer, name)
    found = otio.adapters.read_from_string(tostring(root, encoding="unicode"), "kdenlive")
    for timeline in timelines_in(found):
        for clip in timeline.find_clips():
            _apply_speed(clip)
            shown = clip.source_range
            clip.markers[:] = [each for each in list(clip.markers) if shown.contains(each.marked_range.start_time)]
    return found


def _mark_retimed(producer: Element, name: str) -> None:
    """Turn a retimed producer into a plain one whose URL states its speed."""
    service = _property(producer, "mlt_service")
    is_variable = any(_property(link, "mlt_service") == "timeremap" for link in producer.iterfind("link"))
    if service != "timewarp" and not is_variable:
        return
    url = next((value for key in _URL_PROPERTIES if (value := _property(producer, key))), "")
    speed = _VARIABLE
    if service == "timewarp":
        speed = _property(producer, "warp_speed") or _property(producer, "resource").partition(":")[0]
        url = url if _property(producer, "warp_resource") else _SPEED_BEFORE_PATH.sub("", url, count=1)
        try:
            Fraction(speed)
        except (ValueError, ZeroDivisionError) as error:
            raise ProblemError(
                f'A clip of {name} has the speed "{speed[:40]}", which is not valid.',
                "Set its speed again, and save the project.",
                ProblemKind.TIMELINE,
            ) from error
    _set_property(producer, "mlt_service", "avformat")
    _set_property(producer, "kdenlive:originalurl", f"rewas-speed {speed} {url}")


def _apply_speed(clip: otio.schema.Clip) -> None:
    reference = clip.media_reference
    marked = _MARK.fullmatch(reference.target_url) if isinstance(reference, otio.schema.ExternalReference) else None
    if marked is None:
        return
    reference.target_url = marked["url"]
    if marked["speed"] == _VARIABLE:
        clip.effects.append(otio.schema.TimeEffect("timeremap", "timeremap"))
        return
    speed = Fraction(marked["speed"])
    shown, available = clip.source_range, reference.available_range
    rate = exact_rate(shown.duration.rate, "A clip", "duration")
    first_s, length_s = (exact_seconds(each, "A clip", "start") for each in (shown.start_time, shown.duration))
    end_s = exact_seconds(available.end_time_exclusive(), "A clip", "media end")
    begin_s = abs(speed) * (first_s if speed >= 0 else end_s - first_s - length_s)
    clip.source_range = otio.opentime.TimeRange(rational_time(begin_s, rate), shown.duration)
    reference.available_range = otio.opentime.TimeRange(
        rational_time(Fraction(0), rate), rational_time(end_s * abs(speed), rate)
    )
    if speed != 1:
        clip.effects.append(otio.schema.LinearTimeWarp("timewarp", float(speed)))
    for marker in clip.markers if speed else ():
        # The markers are those of the file, and count in its frames.
        marked_s = exact_seconds(marker.marked_range.start_time, "A marker", "start") - begin_s
        offset_s = marked_s / speed if speed > 0 else length_s + marked_s / speed
        marker.marked_range = otio.opentime.TimeRange(
            rational_time(begin_s + offset_s, rate), marker.marked_range.duration
        )


def _property(element: Element, name: str) -> str:
    return next((each.text or "" for each in element.iterfind("property") if each.get("name") == name), "")


def _set_property(element: Element, name: str, value: str) -> None:
    for each in element.iterfind("property"):
        if each.get("name") == name:
            each.text = value
            return
    added = Element("property", {"name": name})
    added.text = value
    element.append(added)
