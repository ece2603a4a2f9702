"""Writes a library pack of three recordings: `python write_recorded_library.py FOLDER`. Run it without Blender.

The recordings lie beside the folder.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

from rewas_engine.models.text import SentenceEncoder
from rewas_engine.recordings.library_pack import LibraryTerms, make_library

RATE_HZ = 48_000
CAPTIONS = """file,description,licence,credit
hammer.wav,hammer on wood,CC-BY-4.0,H. Smith
mallet.wav,mallet on wood,CC-BY-NC-4.0,M. Jones
rain.wav,heavy rain,,
"""


def write_library(output: Path) -> None:
    """Write the pack, and its recordings into a folder beside it."""
    recordings = output.with_name(f".{output.name}-recordings")
    recordings.mkdir(parents=True)
    rng = np.random.default_rng(0)
    decay = np.exp(-np.arange(RATE_HZ // 2) / (0.05 * RATE_HZ))
    for name in ("hammer", "mallet"):
        sound = np.zeros(4 * RATE_HZ)
        for number, peak in enumerate((0.1, 0.2, 0.4, 0.6)):
            strike = rng.standard_normal(decay.size) * decay
            sound[(1 + 2 * number) * RATE_HZ // 2 :][: decay.size] += peak * strike / np.abs(strike).max()
        soundfile.write(recordings / f"{name}.wav", sound, RATE_HZ, subtype="PCM_24")
    soundfile.write(recordings / "rain.wav", 0.1 * rng.standard_normal(6 * RATE_HZ), RATE_HZ, subtype="PCM_24")
    (recordings / "captions.csv").write_text(CAPTIONS, "utf-8")
    encoder = SentenceEncoder.default()
    terms = LibraryTerms("CC0-1.0", "the field team", is_non_commercial=True)
    make_library([recordings], output, terms, lambda words: encoder(list(words)).numpy())


if __name__ == "__main__":
    write_library(Path(sys.argv[1]))
