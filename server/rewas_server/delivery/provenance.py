"""How a sound was generated, for delivered files and timelines."""

from __future__ import annotations

from dataclasses import dataclass

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media that a trained model has generated."""


@dataclass(frozen=True)
class Provenance:
    """How a sound was generated.

    Attributes:
        prompt: Prompt of the stem.
        seed: Seed of the stem.
        pack_name: Name of the pack that generated it.
        pack_version: Version of that pack.
        licence: Licence of the sound, as an SPDX expression.
        permitted_use: What the licence permits, in one sentence; "" if unknown.
    """

    prompt: str
    seed: int
    pack_name: str
    pack_version: str
    licence: str
    permitted_use: str = ""

    def sentence(self) -> str:
        """Return the main fields in one line, with the prompt last because it may be long."""
        return (
            f"pack={self.pack_name} {self.pack_version}; licence={self.licence}; seed={self.seed}; prompt={self.prompt}"
        )
