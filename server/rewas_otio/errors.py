"""The errors of the plugins."""

from __future__ import annotations

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind


class PluginError(ProblemError, otio.exceptions.OTIOError):  # type: ignore[misc]
    """A plugin cannot do what was requested.

    Args:
        what: One sentence on what happened.
        remedy: One sentence on what to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy, ProblemKind.TIMELINE)
