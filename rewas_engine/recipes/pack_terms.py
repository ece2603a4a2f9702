"""Name, version and terms of a pack trained by a user."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rewas_engine.errors import SettingsError
from rewas_engine.packs.description import PackInfo

VERSION = "1.0.0"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class PackTerms:
    """Name of a pack, and the terms for the pack and its sounds.

    Attributes:
        name: Name of the pack and its folder: letters, digits, dots, hyphens and underscores.
        licence: Name of the licence or SPDX identifier.
        permits: One sentence on what the owner of the recordings permits for the pack and its sounds.

    Raises:
        SettingsError: The name is not valid for a folder, or the terms are empty.
    """

    name: str
    licence: str
    permits: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"{self.name!r} is not a valid pack name.", "Use letters, digits, dots, hyphens and underscores."
            )
        for what in ("licence", "permits"):
            text = getattr(self, what)
            if not text.strip() or "\n" in text or len(text) > 1000:
                raise SettingsError(
                    f"{what} is empty, too long or has more than one line.",
                    "State in one line the licence of the pack, and what may be done with it and its sounds.",
                )


def combine_terms(terms: PackTerms, source: PackInfo | None) -> dict[str, str]:
    """Combine a pack's terms with those of its source, the pack that it is made from, if any."""
    if source is None:
        return {"licence": terms.licence, "permits": terms.permits, "made_from": ""}

    def both(ours: str, theirs: str) -> str:
        return ours if ours == theirs else f"{ours.rstrip(' .')}; for the pack it is made from: {theirs}"

    return {
        "licence": both(terms.licence, source.licence),
        "permits": both(terms.permits, source.permits),
        "made_from": f"{source.name} {source.version}",
    }
