# SPDX-License-Identifier: GPL-3.0-or-later
"""ReWaS: sound for picture on Blender's video timeline.

`timeline` and `core` are plain Python and import without Blender; only `blender` needs `bpy`, so it is imported when
Blender registers the extension.
"""

from importlib import import_module

MODULES = ("preferences", "properties", "operators", "panels", "pump")
"""Modules of `blender` in the order in which they register; they unregister in the opposite one."""


def register() -> None:
    """Called by Blender when the extension is switched on."""
    for name in MODULES:
        import_module(f".blender.{name}", __package__).register()


def unregister() -> None:
    """Called by Blender when the extension is switched off: cancels the jobs and ends every thread."""
    for name in reversed(MODULES):
        import_module(f".blender.{name}", __package__).unregister()
