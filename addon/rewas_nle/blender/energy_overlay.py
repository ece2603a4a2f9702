# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws energy over the strips of the sequencer: the drawn curve, and what the active take requested and produced.

Each redraw reads where the visible strips are, and the curves of new ones and of the active one. A timer reads the
others again when something has changed. Both stop after two milliseconds and continue later.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import bpy
import gpu

from ..timeline.energy_drawing import (
    CURVE_BOTTOM,
    CURVE_TOP,
    Curve,
    FloatArray,
    KeyedCurve,
    Outline,
    SampledCurve,
    area_points,
    bin_width_frames,
    line_points,
)
from ..timeline.energy_keys import EnergyKey
from ..timeline.selection import PICTURE_KINDS
from ..timeline.sequencer_view import SequencerView
from . import compat, energy_curves
from .active_picture import active_picture
from .prepared import prepared_take
from .redraw import redraw_sequencers
from .strip_events import event_frames
from .strip_reading import scene_rate
from .take_list import active_item
from .timeline_mouse import view_of


@dataclass(frozen=True)
class _Style:
    """How a curve is drawn. Opacities are from 0 to 1."""

    colour: tuple[float, float, float]
    line_width: float
    line_opacity: float
    area_opacity: float


PRODUCED, REQUESTED, DRAWN = "produced", "requested", "drawn"
_STYLES = {
    PRODUCED: _Style((0.30, 0.92, 0.70), 0.0, 0.0, 0.42),
    REQUESTED: _Style((0.86, 0.72, 1.00), 1.6, 1.0, 0.0),
    DRAWN: _Style((1.00, 1.00, 1.00), 2.0, 1.0, 0.12),
}
"""In the order in which they are drawn."""
_SHADOW_WIDTH, _SHADOW_OPACITY = 1.6, 0.55
"""A dark rim makes lines legible on thumbnails and in every theme."""
_EVENT_COLOUR = (1.0, 1.0, 1.0, 0.22)
_LEAST_HEIGHT_PX = 14.0
"""Curves in lower strips would be a smear."""
_BUDGET_S = 0.002
_CATCH_UP_INTERVAL_S = 0.01
_REDRAW_INTERVAL_S = 0.1
"""While curves appear one after another. Redrawing a long timeline takes Blender longer than drawing the curves."""
_EXACT_FRAMES = 50_000
"""Distance from the anchor at which single precision is still exact to a fraction of a pixel."""
_GROUPS = 32
_KEPT_S = 3.0
"""Changes that Blender does not report are noticed after this time."""
_MOST_CURVES = 4000
_OVERLAY_PANEL = "SEQUENCER_PT_sequencer_overlay"

Place: TypeAlias = tuple[str, str]
"""Names of scene and strip."""
Range: TypeAlias = tuple[float, float, float]
"""Start and end of a strip, in frames from the start of its content, and the width of bins in frames."""


class Span(NamedTuple):
    """Where a strip is, in frames of the scene."""

    channel: int
    start_frame: int
    end_frame: int
    content_start_frame: int


@dataclass(eq=False)
class _Shape:
    """A curve, and what was last drawn of it. identity: changes with the curve."""

    identity: Hashable
    curve: Curve
    drawn_range: Range | None = None
    outline: Outline | None = None
    placed: tuple[Any, ...] = ()
    line: FloatArray = field(default_factory=lambda: array("f"))
    area: FloatArray = field(default_factory=lambda: array("f"))


@dataclass(eq=False)
class StripCurves:
    """The curves of one strip, by name.

    revision: rises with what is drawn. outlined: range and width of bins of all outlines, or None if they differ.
    seen: number of the last change of any curve that was taken into account.
    """

    shapes: dict[str, _Shape] = field(default_factory=dict)
    revision: int = 0
    outlined: Range | None = None
    seen: int = -1
    checked_at_s: float = float("-inf")


class VisibleStrip(NamedTuple):
    """A strip in sight that has curves. revision: that of its curves."""

    place: Place
    curves: StripCurves
    revision: int
    span: Span

    def renewed(self) -> VisibleStrip:
        """Return the strip with the current revision of its curves."""
        return self if self.revision == self.curves.revision else self._replace(revision=self.curves.revision)


@dataclass(frozen=True)
class _Sight:
    """What was visible in a region. state: what that depends on besides the positions of all strips and the view."""

    state: Hashable
    positions: tuple[Any, ...]
    view: SequencerView
    at_s: float
    strips: list[VisibleStrip]


@dataclass
class _Group:
    """The strips that the graphics card draws together. Frames of the batches count from the anchor."""

    strips: dict[Place, VisibleStrip]
    anchor_frame: float
    lines: dict[str, Any]
    areas: dict[str, Any]


_curves: dict[Place, StripCurves] = {}
_stale: dict[Place, float] = {}
"""Visible strips to read again, with the time when each was last read."""
_missing: dict[Place, Range] = {}
"""Visible strips without a current outline."""
_redrawn_at_s = 0.0
_shown = 0
"""The value of `_redrawn` at the last redraw."""
_read = 0
"""Rises when the curves of a strip are read for the first time or have changed."""
_redrawn = 0
"""Rises when anything that is drawn of a curve changes."""
_sights: dict[int, _Sight] = {}
"""By region."""
_groups: dict[int, dict[int, _Group]] = {}
"""By region and number."""
_preview: tuple[Place, int, Curve] | None = None
_previews = 0
_handle: Any = None


def show_preview(scene: Any, strip: Any, keys: Sequence[EnergyKey]) -> None:
    """Draw these keys instead of the strip's own, while the user draws, or moves an event."""
    global _preview, _previews
    _previews += 1
    _preview = ((scene.name, strip.name), _previews, KeyedCurve(keys, scene_rate(scene)))
    _read_curves(scene, strip, _preview[0])
    redraw_sequencers()


def hide_preview() -> None:
    """Draw the strip's own keys again."""
    global _preview
    if _preview is not None:
        (scene_name, strip_name), _preview = _preview[0], None
        _stale[scene_name, strip_name] = float("-inf")
        _catch_up()


def forget_curves() -> None:
    """Forget everything, because another file was opened."""
    global _preview
    _curves.clear()
    _stale.clear()
    _missing.clear()
    _sights.clear()
    _groups.clear()
    _preview = None


def _draw() -> None:
    global _shown
    context = bpy.context
    space: Any = context.space_data
    scene = compat.shown_scene(context.window)
    if space is None or not space.show_overlays or scene is None:
        return
    if scene.sequence_editor is None or not scene.rewas.show_energy:
        return
    region: Any = context.region
    view = view_of(region)
    if view.px_per_channel < _LEAST_HEIGHT_PX:
        return
    deadline_s = time.perf_counter() + _BUDGET_S
    visible, is_complete = _curves_in_sight(region.as_pointer(), scene, view, deadline_s)
    groups, is_current = _renew_groups(region.as_pointer(), visible, view, deadline_s)
    if not is_current:
        _schedule(_redraw, 0.0)
    if _stale or not is_complete:
        _schedule(_catch_up, _CATCH_UP_INTERVAL_S)
    _draw_event(context, scene, {strip.place for strip in visible}, view)
    _draw_groups(groups, view)
    _shown = _redrawn


def _curves_in_sight(
    region: int, scene: Any, view: SequencerView, deadline_s: float
) -> tuple[list[VisibleStrip], bool]:
    """Return what `visible_curves` returns, from the last redraw if nothing has changed.

    Half a screen on either side is included, so that scrolling changes nothing most of the time.
    """
    holder = compat.edited_holder(scene.sequence_editor)
    strips = compat.strips_of(holder)
    positions = (*compat.read_columns(strips), compat.read_content_starts(strips))
    state = (scene.name, holder.as_pointer(), energy_curves.revision(), bin_width_frames(view.px_per_frame))
    last, now_s = _sights.get(region), time.monotonic()
    if (
        last is not None
        and last.state == (*state, _read)
        and last.view.contains(view)
        and now_s - last.at_s < _KEPT_S
        and last.positions == positions
    ):
        return [strip.renewed() for strip in last.strips], not _missing
    wide = view.widened(0.5)
    visible, is_complete = visible_curves(scene, wide, deadline_s)
    _sights[region] = _Sight((*state, _read), positions, wide, now_s, visible)
    return visible, is_complete


def visible_curves(scene: Any, view: SequencerView, deadline_s: float) -> tuple[list[VisibleStrip], bool]:
    """Return the visible strips that have curves, and whether all of them could be drawn.

    Strips are read and outlined until the time on the performance counter. The timer continues. Known strips that may
    have changed are left to it, too, so that most redraws read nothing.
    """
    scene_name, changes, now_s = scene.name, energy_curves.revision(), time.monotonic()
    bin_frames = bin_width_frames(view.px_per_frame)
    left, right, bottom, top = view.left_frame, view.right_frame, view.bottom_channel - 1, view.top_channel
    strips = compat.strips_of(compat.edited_holder(scene.sequence_editor))
    active = scene.sequence_editor.active_strip
    active_name = active.name if active is not None else ""
    found: list[VisibleStrip] = []
    is_complete = True
    starts = map(round, compat.read_content_starts(strips))
    for strip, (channel, start, end), content_start in zip(strips, compat.read_spans(strips), starts, strict=True):
        if end <= left or start >= right or channel <= bottom or channel >= top:
            continue
        name = strip.name
        place = (scene_name, name)
        curves = _curves.get(place)
        wanted = (start - content_start, end - content_start, bin_frames)
        if curves is None or (name == active_name and curves.seen != changes):
            if time.perf_counter() >= deadline_s:
                is_complete, _missing[place] = False, wanted
                continue
            curves = _read_curves(scene, strip, place)
        elif curves.seen != changes or now_s - curves.checked_at_s > _KEPT_S:
            _stale[place] = curves.checked_at_s
        if curves.shapes:
            if curves.outlined != wanted and not _outline(curves, wanted, deadline_s):
                is_complete, _missing[place] = False, wanted
            found.append(VisibleStrip(place, curves, curves.revision, Span(channel, start, end, content_start)))
    return found, is_complete


def _read_curves(scene: Any, strip: Any, place: Place) -> StripCurves:
    """Read the curves of a strip. Those that have not changed keep their outlines."""
    global _read
    known = _curves.get(place)
    if known is None:
        _read += 1
        if len(_curves) >= _MOST_CURVES:
            _curves.clear()
        known = _curves[place] = StripCurves()
    known.seen, known.checked_at_s = energy_curves.revision(), time.monotonic()
    old, known.shapes = known.shapes, {}
    if strip.type in PICTURE_KINDS:
        rate = scene_rate(scene)
        for name, identity, build in _sources(scene, strip, place, rate):
            shape = old.get(name)
            known.shapes[name] = shape if shape and shape.identity == identity else _Shape(identity, build())
    if known.shapes != old:
        known.outlined = None
        _read += 1
        _count(known)
    return known


def _count(curves: StripCurves) -> None:
    global _redrawn
    curves.revision += 1
    _redrawn += 1


def _sources(
    scene: Any, strip: Any, place: Place, rate: Fraction
) -> Iterator[tuple[str, Hashable, Callable[[], Curve]]]:
    """Yield name, identity and function of each curve of a strip."""
    item = active_item(strip)
    if item is not None:
        take = prepared_take(item)
        lead_in_s = take.lead_in_frames / take.scene_rate
        for name, energy in ((PRODUCED, take.output_energy), (REQUESTED, take.requested_energy)):
            if energy is not None and energy.values:
                yield name, (take.id, rate), partial(SampledCurve, energy, lead_in_s, rate)
    if _preview is not None and _preview[0] == place:
        curve = _preview[2]
        yield DRAWN, ("preview", _preview[1]), lambda: curve
        return
    revision = energy_curves.keys_revision(scene, strip)
    if revision is not None:
        yield DRAWN, (revision, rate), lambda: KeyedCurve(energy_curves.read_keys(scene, strip), rate)


def _outline(curves: StripCurves, wanted: Range, deadline_s: float) -> bool:
    """Bring the outlines of a strip up to date if there is time, and return whether they are."""
    for shape in curves.shapes.values():
        if shape.drawn_range == wanted:
            continue
        if time.perf_counter() < deadline_s:
            shape.outline, shape.drawn_range = shape.curve.outline(*wanted), wanted
            _count(curves)
        elif shape.drawn_range is not None and shape.drawn_range[:2] != wanted[:2]:
            # The old one would not end where the strip does.
            shape.outline, shape.drawn_range = None, None
            _count(curves)
    is_complete = all(shape.drawn_range == wanted for shape in curves.shapes.values())
    curves.outlined = wanted if is_complete else None
    return is_complete


def _renew_groups(
    region: int, visible: Sequence[VisibleStrip], view: SequencerView, deadline_s: float
) -> tuple[list[_Group], bool]:
    """Return the groups that have visible strips, and whether they are up to date.

    At least one is renewed, and others until the time on the performance counter. Strips that have left the view stay
    in their group until it is renewed, so that scrolling renews few.
    """
    members: dict[int, dict[Place, VisibleStrip]] = {}
    for strip in visible:
        members.setdefault(hash(strip.place) % _GROUPS, {})[strip.place] = strip
    groups = _groups.setdefault(region, {})
    is_current, has_renewed = True, False
    for number, strips in members.items():
        group = groups.get(number)
        if group is not None and _is_current(group, strips, view):
            continue
        if has_renewed and time.perf_counter() >= deadline_s:
            is_current = False
        else:
            groups[number], has_renewed = _build_group(strips, group, view), True
    return [groups[number] for number in members if number in groups], is_current


def _is_current(group: _Group, strips: dict[Place, VisibleStrip], view: SequencerView) -> bool:
    if not _is_near(group, view) or not strips.items() <= group.strips.items():
        return False
    # A strip that was deleted or moved away must not stay in sight.
    others = (strip.span for place, strip in group.strips.items() if place not in strips)
    return not any(view.shows(span.start_frame, span.end_frame, span.channel) for span in others)


def _is_near(group: _Group, view: SequencerView) -> bool:
    return abs(view.left_frame - group.anchor_frame) <= _EXACT_FRAMES


def _build_group(strips: dict[Place, VisibleStrip], old: _Group | None, view: SequencerView) -> _Group:
    """Return a group for some strips. Only those that have changed take time."""
    anchor_frame = old.anchor_frame if old is not None and _is_near(old, view) else float(round(view.left_frame))
    lines: dict[str, FloatArray] = {}
    areas: dict[str, FloatArray] = {}
    for strip in strips.values():
        for name, shape in strip.curves.shapes.items():
            if shape.outline is None:
                continue
            _place(shape, shape.outline, strip.span, anchor_frame)
            lines.setdefault(name, array("f")).extend(shape.line)
            areas.setdefault(name, array("f")).extend(shape.area)
    return _Group(
        strips,
        anchor_frame,
        {name: _batch("LINES", points) for name, points in lines.items() if _STYLES[name].line_width},
        {name: _batch("TRI_STRIP", points) for name, points in areas.items() if _STYLES[name].area_opacity},
    )


def _place(shape: _Shape, outline: Outline, span: Span, anchor_frame: float) -> None:
    """Move an outline to its place in the timeline, if it is not there already."""
    wanted = (outline, span.content_start_frame - anchor_frame, span.channel)
    if shape.placed != wanted:
        shape.line, shape.area = line_points(*wanted), area_points(*wanted)
        shape.placed = wanted


def _batch(kind: str, points: FloatArray) -> Any:
    """Return points on the graphics card. With Python lists, this would take ten times as long."""
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="pos", comp_type="F32", len=2, fetch_mode="FLOAT")
    vertices = gpu.types.GPUVertBuf(format=layout, len=len(points) // 2)
    rows: Any = memoryview(points).cast("B").cast("f", (len(points) // 2, 2))
    vertices.attr_fill(id="pos", data=rows)
    return gpu.types.GPUBatch(type=kind, buf=vertices)  # type: ignore[arg-type]


def _draw_event(context: Any, scene: Any, visible: set[Place], view: SequencerView) -> None:
    """Brighten the event that operators would change."""
    picture = active_picture(context)
    if picture is None or _preview is not None or (scene.name, picture.name) not in visible:
        return
    frames = event_frames(scene, picture)
    if frames is None:
        return
    left, bottom = view.to_pixel(frames[0], picture.channel + CURVE_BOTTOM)
    right, top = view.to_pixel(frames[1], picture.channel + CURVE_TOP)
    gpu.state.blend_set("ALPHA")
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.uniform_float("color", _EVENT_COLOUR)
    _batch("TRI_STRIP", array("f", [left, bottom, left, top, right, bottom, right, top])).draw(shader)
    gpu.state.blend_set("NONE")


def _draw_groups(groups: Sequence[_Group], view: SequencerView) -> None:
    gpu.state.blend_set("ALPHA")
    scale = (view.px_per_frame, view.px_per_channel)
    for name, style in _STYLES.items():
        plain = gpu.shader.from_builtin("UNIFORM_COLOR")
        plain.uniform_float("color", (*style.colour, style.area_opacity))
        for group in groups:
            if name in group.areas:
                _draw_batch(group.areas[name], plain, view.to_pixel(group.anchor_frame, 0), scale)
        if not style.line_width:
            continue
        for width, colour in (
            (style.line_width + _SHADOW_WIDTH, (0.0, 0.0, 0.0, _SHADOW_OPACITY)),
            (style.line_width, (*style.colour, style.line_opacity)),
        ):
            lines = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
            lines.uniform_float("viewportSize", (view.width_px, view.height_px))
            lines.uniform_float("lineWidth", width * bpy.context.preferences.system.ui_scale)
            lines.uniform_float("color", colour)
            for group in groups:
                if name in group.lines:
                    _draw_batch(group.lines[name], lines, view.to_pixel(group.anchor_frame, 0), scale)
    gpu.state.blend_set("NONE")


def _draw_batch(batch: Any, shader: Any, origin: tuple[float, float], scale: tuple[float, float]) -> None:
    gpu.matrix.push()
    gpu.matrix.translate(origin)
    gpu.matrix.scale(scale)
    batch.draw(shader)
    gpu.matrix.pop()


def _schedule(function: Callable[[], float | None], after_s: float) -> None:
    if not bpy.app.timers.is_registered(function):
        bpy.app.timers.register(function, first_interval=after_s)


def _redraw() -> None:
    """Redraw, because not everything could be drawn. Blender ignores requests that come while it draws."""
    redraw_sequencers()


def _catch_up() -> float | None:
    """Read and outline strips for two milliseconds, and redraw if something has changed."""
    global _redrawn_at_s
    deadline_s = time.perf_counter() + _BUDGET_S
    while (_missing or _stale) and time.perf_counter() < deadline_s:
        place = next(iter(_missing)) if _missing else min(_stale, key=_stale.__getitem__)
        curves = _read_again(place) if place in _stale or place not in _curves else _curves[place]
        _stale.pop(place, None)
        wanted = _missing.pop(place, None)
        if wanted is not None and curves is not None and not _outline(curves, wanted, deadline_s):
            _missing[place] = wanted
    now_s = time.monotonic()
    is_busy = bool(_missing or _stale)
    if _redrawn != _shown and not (is_busy and now_s - _redrawn_at_s < _REDRAW_INTERVAL_S):
        _redrawn_at_s = now_s
        redraw_sequencers()
    return _CATCH_UP_INTERVAL_S if is_busy else None


def _read_again(place: Place) -> StripCurves | None:
    """Read the curves of a strip, if it still exists."""
    scene = bpy.data.scenes.get(place[0])
    editor = scene.sequence_editor if scene is not None else None
    strip = compat.all_strips_of(editor).get(place[1]) if editor is not None else None
    if strip is None:
        _curves.pop(place, None)
        return None
    return _read_curves(scene, strip, place)


def _draw_setting(self: Any, context: Any) -> None:
    self.layout.prop(compat.scene_of(context).rewas, "show_energy")


@bpy.app.handlers.persistent
def _after_load(*_: Any) -> None:
    forget_curves()


def register() -> None:
    global _handle
    bpy.app.handlers.load_post.append(_after_load)
    getattr(bpy.types, _OVERLAY_PANEL).append(_draw_setting)
    if not bpy.app.background:
        space: Any = bpy.types.SpaceSequenceEditor
        _handle = space.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")


def unregister() -> None:
    global _handle
    getattr(bpy.types, _OVERLAY_PANEL).remove(_draw_setting)
    if _after_load in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_after_load)
    for function in (_redraw, _catch_up):
        if bpy.app.timers.is_registered(function):
            bpy.app.timers.unregister(function)
    if _handle is not None:
        space: Any = bpy.types.SpaceSequenceEditor
        space.draw_handler_remove(_handle, "WINDOW")
        _handle = None
    forget_curves()
