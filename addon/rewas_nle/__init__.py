# SPDX-License-Identifier: GPL-3.0-or-later
"""ReWaS: sound for picture in Blender's video sequencer.

`timeline` and `core` are plain Python and can be imported without Blender. `blender` needs `bpy` and is imported when
Blender registers the extension.
"""

from importlib import import_module

MODULES = (
    "preferences",
    "properties",
    "edit_counter",
    "operators",
    "exchange_operators",
    "server_operators",
    "take_operators",
    "setting_operators",
    "take_drawing",
    "recordings",
    "completion_operators",
    "energy_operators",
    "reference_sounds",
    "word_operators",
    "video_operators",
    "panels",
    "check_operators",
    "energy_overlay",
    "check_overlay",
    "event_operators",
    "energy_pen",
    "menus",
    "status_bar",
    "open_file",
    "energy_curves",
    "connecting",
    "links",
    "pump",
)
"""Modules of `blender` in registration order. They unregister in reverse order."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for name in MODULES:
        import_module(f".blender.{name}", __package__).register()


def unregister() -> None:
    """Called by Blender when the extension is disabled: stops all threads. Jobs continue on the server."""
    for name in reversed(MODULES):
        import_module(f".blender.{name}", __package__).unregister()
