# SPDX-License-Identifier: GPL-3.0-or-later
"""Menus and shortcuts of the sequencer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

KEYMAP = "Sequencer"


@dataclass(frozen=True)
class Shortcut:
    """A key of the sequencer's timeline, with its modifiers."""

    operator: str
    key: str
    ctrl: bool = False
    shift: bool = False
    alt: bool = False


SHORTCUTS = (
    Shortcut("rewas.generate", "F", ctrl=True, shift=True),
    Shortcut("rewas.range_again", "F", ctrl=True, alt=True),
    Shortcut("rewas.compare_takes", "T", alt=True),
    Shortcut("rewas.next_take", "T", shift=True, alt=True),
)
"""None of them is used by Blender's own keymaps in the sequencer."""

_items: list[tuple[Any, Any]] = []


class REWAS_MT_sound(bpy.types.Menu):
    """Sound for the picture of the selected strips"""

    bl_label = "ReWaS Sound"

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.operator("rewas.generate", icon="SPEAKER")
        layout.operator("rewas.generate_missing")
        layout.separator()
        layout.operator("rewas.regenerate")
        layout.operator("rewas.range_again")
        layout.operator("rewas.generate_missing_sound")
        layout.operator("rewas.generate_like_take")
        layout.operator("rewas.another_recording")
        layout.separator()
        layout.operator("rewas.play_take")
        layout.operator("rewas.compare_takes")
        layout.operator("rewas.next_take")
        layout.operator("rewas.use_take_settings")
        layout.operator("rewas.send_take")
        layout.operator("rewas.delete_take")
        layout.separator()
        layout.operator_menu_enum("rewas.estimate_energy", "source")
        layout.operator("rewas.energy_from_sound", text="Energy from Sound File…")
        layout.operator("rewas.energy_from_picture")
        layout.operator("rewas.draw_energy", icon="GREASEPENCIL")
        layout.operator("rewas.isolate_event")
        layout.operator("rewas.mute_event")
        layout.operator("rewas.boost_event")
        layout.operator("rewas.move_event")
        layout.separator()
        layout.operator("rewas.suggest_words")
        layout.operator("rewas.check_prompt")
        layout.operator("rewas.generate_video")
        layout.operator("rewas.add_layer")
        layout.operator("rewas.copy_settings")
        layout.separator()
        layout.operator("rewas.cancel", text="Cancel All Jobs").key = ""
        layout.operator("rewas.import_timeline")
        layout.operator("rewas.export_timeline")
        layout.operator("rewas.copy_credits")


def _draw_submenu(self: Any, context: Any) -> None:
    self.layout.separator()
    self.layout.menu("REWAS_MT_sound")


def _draw_in_add_menu(self: Any, context: Any) -> None:
    self.layout.separator()
    self.layout.operator("rewas.generate", text="Sound for Picture", icon="SPEAKER")


_PLACES = (
    ("SEQUENCER_MT_strip", _draw_submenu),
    ("SEQUENCER_MT_context_menu", _draw_submenu),
    ("SEQUENCER_MT_add", _draw_in_add_menu),
)


def register() -> None:
    bpy.utils.register_class(REWAS_MT_sound)
    for name, draw in _PLACES:
        getattr(bpy.types, name).append(draw)
    keyconfig = bpy.context.window_manager.keyconfigs.addon
    if keyconfig is None:  # in background mode
        return
    keymap: Any = keyconfig.keymaps.new(name=KEYMAP, space_type="SEQUENCE_EDITOR")
    for shortcut in SHORTCUTS:
        item = keymap.keymap_items.new(
            shortcut.operator, shortcut.key, "PRESS", ctrl=shortcut.ctrl, shift=shortcut.shift, alt=shortcut.alt
        )
        _items.append((keymap, item))


def unregister() -> None:
    for keymap, item in _items:
        keymap.keymap_items.remove(item)
    _items.clear()
    for name, draw in _PLACES:
        getattr(bpy.types, name).remove(draw)
    bpy.utils.unregister_class(REWAS_MT_sound)
