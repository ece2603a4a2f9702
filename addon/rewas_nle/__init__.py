# SPDX-License-Identifier: GPL-3.0-or-later
"""ReWaS: sound for picture in Blender's video sequencer.

`timeline` and `core` are plain Python and can be imported without Blender. `blender` needs `bpy` and is imported when
Blender registers the extension.
"""

from importlib import import_module

MODULES = ("preferences", "properties", "operators", "panels", "pump")
"""Modules of `blender` in registration order. They unregister in reverse order."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for name in MODULES:
        import_module(f".blender.{name}", __package__).register()


def unregister() -> None:
    """Called by Blender when the extension is disabled: cancels all jobs and stops all threads."""
    for name in reversed(MODULES):
        import_module(f".blender.{name}", __package__).unregister()
