# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: server, model pack and stems folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from ..core.contract import ServerChoice
from . import compat
from .drawing import draw_text
from .shared_session import session, watch_server

# The same port as rewas_api.DEFAULT_PORT, which is not imported here: a missing wheel must not stop registration.
DEFAULT_ADDRESS = "127.0.0.1:50071"
ADDON = __package__.rpartition(".")[0]
_UNSAVED_STEMS_FOLDER = "stems"


def _pack_names(preferences: Any, context: Any, edit_text: str) -> Iterator[str | tuple[str, str]]:
    server = session().board.server
    for pack in server.packs if server is not None else ():
        if edit_text.lower() in pack.name.lower() and not pack.problem:
            yield pack.name, pack.licence


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
        description="The file certificate.pem of a server on another machine. Leave empty for a server on this one",
        default="",
        subtype="FILE_PATH",
        update=_server_changed,
    )
    token_file: bpy.props.StringProperty(
        name="Token",
        description="A copy of the file named token of a server on another machine. Leave empty for a server on this "
        "one, whose token is found automatically",
        default="",
        subtype="FILE_PATH",
        update=_server_changed,
    )
    pack: bpy.props.StringProperty(
        name="Pack",
        description="The model pack that generates the sound. Leave empty to use the server's default",
        default="",
        search=_pack_names,
        search_options={"SUGGESTION"},
    )
    stems_folder: bpy.props.StringProperty(
        name="Stems",
        description="Folder for generated sound files. // is the folder of the .blend file. While the file is unsaved, "
        "sounds go to a folder of the extension and stay there",
        default="//rewas-stems/",
        subtype="DIR_PATH",
        options=compat.BLEND_RELATIVE,
    )

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "server_address")
        layout.prop(self, "certificate")
        layout.prop(self, "token_file")
        layout.prop(self, "pack")
        draw_text(layout, context, pack_terms())
        layout.prop(self, "stems_folder")


def preferences() -> RewasPreferences:
    """The add-on's preferences."""
    found: RewasPreferences = bpy.context.preferences.addons[ADDON].preferences  # type: ignore[assignment]
    return found


def chosen_server(chosen: RewasPreferences | None = None) -> ServerChoice:
    """Return the server of the preferences."""
    chosen = chosen or preferences()
    certificate, token_file = (
        bpy.path.abspath(path) if path else "" for path in (chosen.certificate, chosen.token_file)
    )
    return ServerChoice(chosen.server_address, bpy.app.online_access, certificate, token_file)


def pack_terms() -> str:
    """Return the selected pack's licence and what it permits, or "" while the server has not sent it."""
    server = session().board.server
    chosen = server.pack(preferences().pack) if server is not None else None
    return chosen.terms if chosen is not None else ""


def stems_folder() -> Path:
    """Return the absolute stems folder.

    An unsaved .blend file has no folder, and sounds in a temporary folder would be lost.
    """
    chosen = preferences().stems_folder or "//rewas-stems/"
    if chosen.startswith("//") and not bpy.data.filepath:
        return Path(bpy.utils.extension_path_user(ADDON, path=_UNSAVED_STEMS_FOLDER, create=True))
    return Path(bpy.path.abspath(chosen)).absolute()


def register() -> None:
    bpy.utils.register_class(RewasPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(RewasPreferences)
