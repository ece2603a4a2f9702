"""The whole way: from the picture to energy to sound, and whether sound and picture move together (AV-Align)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.curves.onsets import detect_onsets
from rewas_engine.evaluation.av_align import av_align, motion_peaks
from rewas_engine.evaluation.control_following import followed
from rewas_engine.evaluation.energy_from_video import seen_frames
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.prompt_adherence import right_share
from rewas_engine.evaluation.test_bench import Bench, BenchClip
from rewas_engine.world import SAMPLE_RATE_HZ

CLIPS_SHARE = 5
"""Every fifth clip of the bench whose source is in the picture."""

Peaks = NDArray[np.float64]


def align_section(bench: Bench) -> Section:
    """AV-Align of sounds made from the picture, beside the real sounds and those of the bare words."""
    places = [number for number, clip in enumerate(bench.clips) if not clip.scene.off_screen][::CLIPS_SHARE]
    clips = [bench.clips[place] for place in places]
    rate = bench.model.picture_format[0]
    pictures: list[NDArray[np.uint8]] = []
    for number, clip in enumerate(clips):
        bench.watch.tell("Drawing pictures", number, len(clips))
        pictures.append(seen_frames(clip.scene, Fraction(rate), bench.model.picture_format))
    energies = [_energy_of(bench, frames, clip) for frames, clip in zip(pictures, clips, strict=True)]
    made = bench.generated(
        "From picture to sound",
        [clip.plain for clip in clips],
        [Controls(energy=energy) for energy in energies],
        seeds=[clip.seed for clip in clips],
    )
    sounds = {
        "picture": bench.vocoded(made, clips),
        "real": [clip.sound for clip in clips],
        "words": bench.vocoded(bench.uncontrolled[places], clips),
    }
    moving = [motion_peaks(frames, rate) for frames in pictures]
    aligned = {name: _aligned(row, moving, rate) for name, row in sounds.items()}
    shared = {name: _aligned(row, moving, rate, one_to_one=True) for name, row in sounds.items()}
    to_picture, _ = followed(energies, made)
    to_sound, _ = followed([clip.energy for clip in clips], made)
    figures = (
        Figure("av_align", "AV-Align, picture → energy → sound", float(np.mean(aligned["picture"]))),
        Figure("av_align_words", "AV-Align, words alone", float(np.mean(aligned["words"]))),
        Figure(
            "av_align_real",
            "AV-Align, the real sound",
            float(np.mean(aligned["real"])),
            note="what the world itself has",
        ),
        Figure("av_align_one_to_one", "AV-Align with one partner a peak", float(np.mean(shared["picture"]))),
        Figure("from_picture_correlation", "Sound against the energy from the picture", float(np.mean(to_picture))),
        Figure(
            "from_picture_true_correlation", "Sound from the picture against the real sound", float(np.mean(to_sound))
        ),
        Figure("from_picture_class", "Right class of sounds from the picture", right_share(bench.judge, clips, made)),
    )
    details = {
        "clips": len(clips),
        "one_to_one": {name: round(float(np.mean(row)), 4) for name, row in shared.items()},
    }
    return Section("align", "Picture to sound", figures, details)


def _energy_of(bench: Bench, frames: NDArray[np.uint8], clip: BenchClip) -> FloatArray:
    bench.watch.check()
    curve = EnergyCurve(bench.model.energy_of_frames(frames), bench.model.picture_format[0], "picture")
    return curve.at(bench.model.front_end.config.frame_rate_hz, len(clip.energy))


def _aligned(
    sounds: Sequence[FloatArray], moving: Sequence[Peaks], rate: Fraction, *, one_to_one: bool = False
) -> list[float]:
    return [
        av_align(detect_onsets(sound, SAMPLE_RATE_HZ)[0], peaks_s, rate, one_to_one=one_to_one)
        for sound, peaks_s in zip(sounds, moving, strict=True)
    ]
