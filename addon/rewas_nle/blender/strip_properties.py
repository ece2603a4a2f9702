# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes the properties of strips as plain values, whatever this version of Blender calls them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..timeline.exchanged import FilePath
from .take_list import absolute_path, stored_path

_SKIPPED = frozenset(
    {
        "rna_type", "name", "channel", "mute", "type", "filepath", "directory", "rewas", "use_proxy", "proxy",
        "select", "select_left_handle", "select_right_handle", "is_expanded", "show_preview", "sound", "scene", "mask",
        "clip", "elements", "strips", "sequences", "channels", "retiming_keys", "modifiers", "input_mask_strip",
        "frame_final_duration", "frame_start", "frame_final_start", "frame_final_end", "frame_offset_start",
        "frame_offset_end", "animation_offset_start", "animation_offset_end", "left_handle", "right_handle",
        "left_handle_offset", "right_handle_offset", "content_start", "content_end", "content_trim_start",
        "content_trim_end", "duration", "content_duration", "show_retiming_keys", "font", "stereo_3d_format",
    }
)  # fmt: skip
"""Properties that are exchanged in another way, or belong to the window."""
_SIMPLE = frozenset({"BOOLEAN", "INT", "FLOAT", "STRING", "ENUM"})
_PRECISION = 9
"""Digits that distinguish all numbers of single precision."""


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str
    default: Any
    is_path: bool


_known: dict[str, tuple[_Property, ...]] = {}


def read_properties(owner: Any) -> dict[str, Any]:
    """Return the properties of a strip or modifier that differ from their defaults, with those of its parts."""
    values: dict[str, Any] = {}
    for each in _properties_of(owner):
        value = getattr(owner, each.name, None)
        if each.kind == "POINTER":
            inner = read_properties(value) if value is not None else {}
            if inner:
                values[each.name] = inner
        elif (plain := _plain(value, each)) != each.default:
            values[each.name] = plain
    font = getattr(owner, "font", None)
    if font is not None and font.filepath not in ("", "<builtin>"):
        values["font"] = FilePath(str(absolute_path(font.filepath)))
    return values


def write_properties(owner: Any, values: Mapping[str, Any], *, is_complete: bool) -> None:
    """Set the properties of a strip or modifier. is_complete: whether those without a value get their defaults.

    Values that this version of Blender does not have are skipped.
    """
    for each in _properties_of(owner):
        if each.kind == "POINTER":
            part = getattr(owner, each.name, None)
            inner = values.get(each.name, {})
            if part is not None and isinstance(inner, Mapping):
                write_properties(part, inner, is_complete=is_complete)
        elif each.name in values or (is_complete and _plain(getattr(owner, each.name), each) != each.default):
            _set(owner, each.name, values.get(each.name, each.default))
    font = values.get("font")
    if isinstance(font, FilePath) and hasattr(owner, "font") and Path(font.path).is_file():
        owner.font = bpy.data.fonts.load(font.path, check_existing=True)


def read_group(group: Any, skipped: Collection[str] = ()) -> dict[str, Any]:
    """Return the properties of one of the add-on's groups that have been set."""
    values: dict[str, Any] = {}
    for item in group.bl_rna.properties:
        name = item.identifier
        if name == "rna_type" or name in skipped or item.is_skip_save:
            continue
        if item.type == "POINTER":
            inner = read_group(getattr(group, name))
            if inner:
                values[name] = inner
        elif item.type == "COLLECTION":
            found = [read_group(each) for each in getattr(group, name)]
            if found:
                values[name] = found
        elif group.is_property_set(name):
            value = getattr(group, name)
            is_path = item.subtype == "FILE_PATH"
            values[name] = _plain(value, _Property(name, item.type, None, is_path))
    return values


def write_group(group: Any, values: Mapping[str, Any]) -> None:
    """Set properties of one of the add-on's groups."""
    for item in group.bl_rna.properties:
        name = item.identifier
        if name not in values or name == "rna_type":
            continue
        value = values[name]
        if item.type == "POINTER" and isinstance(value, Mapping):
            write_group(getattr(group, name), value)
        elif item.type == "COLLECTION" and isinstance(value, list):
            collection = getattr(group, name)
            collection.clear()
            for each in value:
                write_group(collection.add(), each)
        else:
            _set(group, name, value)


def custom_properties(strip: Any, skipped: Collection[str] = ()) -> dict[str, Any]:
    """Return the custom properties of a strip that JSON can hold."""
    values: dict[str, Any] = {}
    for name in strip.keys():  # noqa: SIM118 - a strip is not a dictionary
        # Before 5.0 the groups of add-ons are custom properties, too.
        if name in skipped or name == "rewas" or name in strip.bl_rna.properties:
            continue
        value = strip[name]
        if hasattr(value, "to_dict"):
            value = value.to_dict()
        elif hasattr(value, "to_list"):
            value = value.to_list()
        if isinstance(value, bool | int | float | str | dict | list):
            values[name] = value
    return values


def _properties_of(owner: Any) -> tuple[_Property, ...]:
    kind = owner.bl_rna.identifier
    if kind not in _known:
        _known[kind] = tuple(found for item in owner.bl_rna.properties if (found := _describe(item)) is not None)
    return _known[kind]


def _describe(item: Any) -> _Property | None:
    name = item.identifier
    if name in _SKIPPED or name.startswith(("input_", "use_cache_")):
        return None
    if item.type == "POINTER":
        is_part = not item.is_never_none or not issubclass(_class_of(item.fixed_type), bpy.types.ID)
        is_known = item.fixed_type.identifier.startswith(("Sequence", "Strip"))
        return _Property(name, "POINTER", None, False) if is_part and is_known and item.is_readonly else None
    if item.type not in _SIMPLE or item.is_readonly:
        return None
    default = _default_of(item)
    return _Property(name, item.type, default, item.type == "STRING" and item.subtype == "FILE_PATH")


def _class_of(struct: Any) -> type:
    found = getattr(bpy.types, struct.identifier, None)
    return found if isinstance(found, type) else object


def _default_of(item: Any) -> Any:
    if item.type == "ENUM":
        return sorted(item.default_flag) if item.is_enum_flag else item.default
    if getattr(item, "is_array", False):
        return [_number(each) for each in item.default_array]
    return _number(item.default)


def _plain(value: Any, item: _Property) -> Any:
    if item.is_path:
        return FilePath(str(absolute_path(value)) if value else "")
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return _number(value)
    return [_number(each) for each in value]


def _number(value: Any) -> Any:
    # Blender stores single precision: 0.1 comes back as 0.10000000149.
    return float(f"{value:.{_PRECISION}g}") if isinstance(value, float) else value


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(value, FilePath):
        value = stored_path(Path(value.path)) if value.path else ""
    if isinstance(value, list) and owner.bl_rna.properties[name].type == "ENUM":
        value = set(value)
    try:
        setattr(owner, name, value)
    except (TypeError, ValueError, AttributeError):
        # Another version of Blender has other values.
        return
