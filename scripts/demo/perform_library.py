"""Perform the library foley for the clips of the demo, if `make foley` has made it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from make_demo_clips import DemoClip
from measure_demo_mix import matched_offsets_s, onset_f_score

from rewas_engine.curves.onsets import detect_onsets
from rewas_engine.packs.description import installed_packs

LIBRARY = "foley"


class LibraryFailed(Exception):
    """The library did not perform a clip."""


def has_library() -> bool:
    """Whether the library is installed."""
    found = next((pack.info for pack in installed_packs() if pack.name == LIBRARY), None)
    return found is not None and found.is_library


def perform(clips: Sequence[DemoClip], paths: Sequence[Path], seed: int, output: Path) -> list[dict[str, Any]]:
    """Generate the sound of each clip with the library, into a folder.

    Returns:
        For each clip, an entry for report.json.

    Raises:
        LibraryFailed: A clip has no sound.
    """
    return [_perform_clip(clip, path, seed, output) for clip, path in zip(clips, paths, strict=True)]


def _perform_clip(clip: DemoClip, path: Path, seed: int, output: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "rewas_cli.main", "generate", path, "--prompt", clip.prompt, "--pack", LIBRARY]
    command += ["--seed", str(seed), "--output", output, "--json"]
    done = subprocess.run(list(map(str, command)), text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise LibraryFailed(f"The library {LIBRARY} did not perform {clip.file_name}:\n{done.stdout}{done.stderr}")
    take = json.loads(done.stdout)["takes"][0]
    waveform, rate_hz = soundfile.read(take["stems"]["primary"]["path"], dtype="float32", always_2d=True)
    onsets, _ = detect_onsets(waveform.mean(axis=1), rate_hz)
    late_s = matched_offsets_s(onsets, clip.contacts_s)
    return {
        "clip": clip.file_name,
        "prompt": clip.prompt,
        "pack": LIBRARY,
        "energy_correlation": round(take["energy_correlation"], 4),
        "samples": len(waveform),
        "expected_samples": int(clip.duration_s * rate_hz),
        "contacts": len(clip.contacts_s),
        "contacts_with_an_onset": len(late_s),
        "onset_f_score": round(onset_f_score(len(late_s), onsets.size, len(clip.contacts_s)), 3),
        "median_onset_offset_ms": round(1000 * float(np.median(late_s)), 1) if late_s else None,
        "stem": f"{output.name}/{Path(take['stems']['primary']['path']).name}",
    }
