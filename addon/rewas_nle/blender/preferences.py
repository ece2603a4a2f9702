# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: which server, which pack, where the stems go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from . import compat
from .drawing import draw_text

# rewas_api.DEFAULT_PORT says the same; it is not imported here because a missing wheel must not stop registration.
DEFAULT_ADDRESS = "127.0.0.1:50071"
ADDON = __package__.rpartition(".")[0]
_UNSAVED_STEMS_FOLDER = "stems"


def _pack_names(preferences: Any, context: Any, edit_text: str) -> Iterator[str | tuple[str, str]]:
    from .pump import session

    server = session().board.server
    for pack in server.packs if server is not None else ():
        if edit_text.lower() in pack.name.lower() and not pack.trouble:
            yield pack.name, pack.licence


def _address_changed(preferences: Any, context: Any) -> None:
    from .pump import watch_server

    watch_server()


class RewasPreferences(bpy.types.AddonPreferences):
    """Settings of this Blender installation."""

    bl_idname = ADDON

    server_address: bpy.props.StringProperty(
        name="Server",
        description="Host and port of the ReWaS server, as `rewas serve` prints them. "
        "Servers on other machines need Allow Online Access",
        default=DEFAULT_ADDRESS,
        update=_address_changed,
    )
    pack: bpy.props.StringProperty(
        name="Pack",
        description="The model pack that makes the sound. Empty means the server's default",
        default="",
        search=_pack_names,
        search_options={"SUGGESTION"},
    )
    stems_folder: bpy.props.StringProperty(
        name="Stems",
        description="Folder for the sound files. // is the folder of the .blend file; as long as that is not saved, "
        "they go to the extension's own folder and stay there",
        default="//rewas-stems/",
        subtype="DIR_PATH",
        options=compat.BLEND_RELATIVE,
    )

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "server_address")
        layout.prop(self, "pack")
        draw_text(layout, context, pack_terms())
        layout.prop(self, "stems_folder")


def preferences() -> RewasPreferences:
    """The add-on's preferences."""
    return bpy.context.preferences.addons[ADDON].preferences


def pack_terms() -> str:
    """Licence of the pack that sound is made with, and what it permits; "" as long as the server has not told it."""
    from .pump import session

    server = session().board.server
    chosen = server.pack(preferences().pack) if server is not None else None
    return chosen.terms if chosen is not None else ""


def stems_folder() -> Path:
    """Where stems go, absolute. An unsaved .blend has no folder, and a temporary one would lose the sound."""
    chosen = preferences().stems_folder or "//rewas-stems/"
    if chosen.startswith("//") and not bpy.data.filepath:
        return Path(bpy.utils.extension_path_user(ADDON, path=_UNSAVED_STEMS_FOLDER, create=True))
    return Path(bpy.path.abspath(chosen)).absolute()


def register() -> None:
    bpy.utils.register_class(RewasPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(RewasPreferences)
