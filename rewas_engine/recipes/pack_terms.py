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
    """What a pack is called, and on which terms it and its sounds may be used.

    name: letters, digits, dots, hyphens and underscores; also the name of its folder. licence: its name or SPDX
    identifier. permits: in a sentence, what the owner of the recordings lets people do with pack and sounds.
    Raises SettingsError for a name that is no folder's, and for terms that say nothing.
    """

    name: str
    licence: str
    permits: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"{self.name!r} is no name for a pack.", "Use letters, digits, dots, hyphens and underscores."
            )
        for what in ("licence", "permits"):
            text = getattr(self, what)
            if not text.strip() or "\n" in text or len(text) > 1000:
                raise SettingsError(
                    f"What the pack {what if what == 'permits' else 'is licensed under'} is not said in one line.",
                    "Say under which licence the pack is, and what may be done with it and with its sounds.",
                )


def told_terms(terms: PackTerms, source: PackInfo | None) -> dict[str, str]:
    """What stands in a pack of its terms; of one that is made from another those of both hold. source: the other."""
    if source is None:
        return {"licence": terms.licence, "permits": terms.permits, "made_from": ""}

    def both(ours: str, theirs: str) -> str:
        return ours if ours == theirs else f"{ours.rstrip(' .')}; and, for what it is made from: {theirs}"

    return {
        "licence": both(terms.licence, source.licence),
        "permits": both(terms.permits, source.permits),
        "made_from": f"{source.name} {source.version}",
    }
