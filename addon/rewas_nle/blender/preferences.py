# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: server, model pack and stems folder."""

from pathlib import Path
from typing import Any

import bpy

from ..core.contract import DEFAULT_ADDRESS, ServerChoice
from ..core.messages import PackChoice
from . import compat
from .drawing import draw_text
from .pack_search import search_packs
from .server_drawing import draw_preferences
from .shared_session import session, unsaved_folder, watch_server

ADDON = __package__.rpartition(".")[0]
_DEFAULT_STEMS_FOLDER = "//rewas-stems/"


def _server_changed(preferences: Any, context: Any) -> None:
    watch_server(chosen_server(preferences))


class RewasPreferences(bpy.types.AddonPreferences):
    """The add-on's preferences."""

    bl_idname = ADDON

    server_address: bpy.props.StringProperty(
        name="Server",
        description="Host and port of the ReWaS server, as printed by `rewas serve`. "
        "A server on another machine needs Allow Online Access",
        default=DEFAULT_ADDRESS,
        update=_server_changed,
    )
    certificate: bpy.props.StringProperty(
        name="Certificate",
        description="The file certificate.pem from a server on another machine. Leave empty for a server on this one",
        default="",
        subtype="FILE_PATH",
        update=_server_changed,
    )
    token_file: bpy.props.StringProperty(
        name="Token",
        description="A copy of the file named token from a server on another machine. Leave empty for a server on this "
        "one, whose token is found automatically",
        default="",
        subtype="FILE_PATH",
        update=_server_changed,
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="Device that the server on this computer uses. A change takes effect at its next start",
        items=(
            ("auto", "Automatic", "Use the graphics cards that CUDA supports, otherwise the processor"),
            ("cpu", "Processor", "Leave the graphics card to Blender"),
            ("cuda", "CUDA", "Use the first graphics card that CUDA supports"),
        ),
        default="auto",
    )
    pack: bpy.props.StringProperty(
        name="Pack",
        description="The model pack that generates the sound, or the library whose recordings are performed. Leave "
        "empty to use the server's default",
        default="",
        search=search_packs,
        search_options={"SUGGESTION"},
    )
    stems_folder: bpy.props.StringProperty(
        name="Stems",
        description="Folder for generated sound files. // is the folder of the .blend file. While the file is unsaved, "
        "sounds are in your data folder. They move here when you first save the file",
        default=_DEFAULT_STEMS_FOLDER,
        subtype="DIR_PATH",
        options=compat.BLEND_RELATIVE,
    )

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "server_address")
        layout.prop(self, "certificate")
        layout.prop(self, "token_file")
        draw_preferences(layout, context, self)
        layout.prop(self, "pack")
        draw_text(layout, context, pack_terms())
        layout.prop(self, "stems_folder")


def preferences() -> RewasPreferences:
    """The add-on's preferences."""
    found: RewasPreferences = bpy.context.preferences.addons[ADDON].preferences  # type: ignore[assignment]
    return found


def chosen_server(chosen: RewasPreferences | None = None) -> ServerChoice:
    """Return the server that is set in the preferences."""
    chosen = chosen or preferences()
    certificate, token_file = (
        bpy.path.abspath(path) if path else "" for path in (chosen.certificate, chosen.token_file)
    )
    return ServerChoice(chosen.server_address, bpy.app.online_access, certificate, token_file)


def pack_for(settings: Any) -> PackChoice | None:
    """Return the usable pack in the settings of a strip, or else in the preferences. None while unknown."""
    return pack_for_layer(settings, "")


def pack_for_layer(settings: Any, name: str) -> PackChoice | None:
    """Return the usable pack of a layer, which is that of the strip if the layer names none. None while unknown."""
    server = session().board.server
    return server.pack(name or settings.pack or preferences().pack) if server is not None else None


def pack_terms() -> str:
    """Return the selected pack's licence and what it permits, or "" while the server has not sent it."""
    server = session().board.server
    chosen = server.pack(preferences().pack) if server is not None else None
    return chosen.terms if chosen is not None else ""


def stems_folder(blend_file: str = "") -> Path:
    """Return the absolute stems folder of a .blend file, by default of the open one.

    An unsaved .blend file has no folder. Sounds in a temporary folder, or in one of the extension, would be lost.
    """
    chosen = preferences().stems_folder or _DEFAULT_STEMS_FOLDER
    blend_file = blend_file or bpy.data.filepath
    if not chosen.startswith("//"):
        return Path(chosen).absolute()
    if not blend_file:
        return unsaved_folder()
    return Path(bpy.path.abspath(chosen, start=str(Path(blend_file).parent))).absolute()


def register() -> None:
    bpy.utils.register_class(RewasPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(RewasPreferences)
