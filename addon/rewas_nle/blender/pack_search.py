# SPDX-License-Identifier: GPL-3.0-or-later
"""Suggestions for fields that contain the name of a pack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .shared_session import session


def search_packs(owner: Any, context: Any, edit_text: str) -> Iterator[tuple[str, str]]:
    """Yield the usable packs of the server whose names contain a text, each with its properties."""
    server = session().board.server
    for pack in server.packs if server is not None else ():
        if edit_text.lower() in pack.name.lower() and not pack.problem:
            yield pack.name, pack.properties
