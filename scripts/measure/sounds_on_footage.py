"""Generate sound for the clips of a folder, and print level, ends, onsets, score and notes of each.

    python scripts/measure/sounds_on_footage.py DIR [--prompt TEXT] [--clips N] [--seed N]

The prompt of a clip is the column `heard` of manifest.csv, unless --prompt gives one for all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from rewas_engine import EngineError, Output, VideoClip
from rewas_engine.curves.onsets import detect_onsets
from rewas_engine.evaluation.real_manifest import real_clip_entries
from rewas_engine.media.loudness import integrated_loudness_lufs, true_peak_of
from rewas_engine.pipeline import ReWaS

RATE_HZ = 48_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate sound for the clips of a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompt")
    parser.add_argument("--clips", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    model = ReWaS.from_pretrained("starter")
    levels = []
    for entry in real_clip_entries(options.folder)[: options.clips]:
        prompt = options.prompt or entry.heard
        try:
            result = model.generate(
                VideoClip(entry.path), prompt=prompt, seed=options.seed, output=Output(sample_rate_hz=RATE_HZ)
            )
        except EngineError as error:
            print(f"{entry.path.name}: {error}")
            continue
        take = result.takes[0]
        sound = take.stems["primary"].waveform
        loudness = integrated_loudness_lufs(sound, RATE_HZ)
        levels += [] if loudness is None else [loudness]
        peak, onsets = true_peak_of(sound, RATE_HZ), len(detect_onsets(sound[0], RATE_HZ)[0]) if sound.any() else 0
        print(
            f"{entry.path.name}: “{prompt}”: "
            + ("silent" if loudness is None else f"{loudness:.1f} LUFS")
            + (f", {20 * np.log10(peak):.1f} dBTP" if peak else "")
            + f", ends {np.abs(sound[0, [0, -1]]).max():.1e}, {onsets} onsets, "
            + ("no score" if take.score is None else f"score {take.score:.2f}")
            + (f", faults {', '.join(take.faults)}" if take.faults else "")
        )
        for note in result.notes:
            print(f"    {note.text}")
    if levels:
        print(f"{len(levels)} sounds from {min(levels):.1f} to {max(levels):.1f} LUFS")


if __name__ == "__main__":
    main()
