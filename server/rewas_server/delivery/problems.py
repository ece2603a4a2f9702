"""Problems with the settings of a delivery profile."""

from __future__ import annotations

from rewas_api.errors import ProblemError, ProblemKind


def settings_problem(what: str, remedy: str) -> ProblemError:
    """Return a problem with settings. what: one sentence on what is wrong. remedy: one on what to do about it."""
    return ProblemError(what, remedy, ProblemKind.SETTINGS)
