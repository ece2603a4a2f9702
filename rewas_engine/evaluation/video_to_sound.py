"""The complete method from video to energy to sound, measured by AV-Align and energy correlation."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.curves.onsets import detect_onsets
from rewas_engine.evaluation.av_align import av_align, motion_peaks
from rewas_engine.evaluation.bench import Bench, BenchClip
from rewas_engine.evaluation.control_following import energy_agreements
from rewas_engine.evaluation.energy_from_video import render_at_pack_rate
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.prompt_adherence import share_correct
from rewas_engine.world import SAMPLE_RATE_HZ

CLIPS_SHARE = 5
"""Use every fifth bench clip with a visible source."""
_FROM_VIDEO = ("av_align", "AV-Align, video → energy → sound")

Peaks = NDArray[np.float64]


def align_section(bench: Bench) -> Section:
    """Build the section: AV-Align of sounds from the video, of real sounds, and of sounds from the prompt alone."""
    places = [number for number, clip in enumerate(bench.clips) if not clip.scene.off_screen][::CLIPS_SHARE]
    if not places:
        return Section("align", "Sound from video", (Figure(*_FROM_VIDEO, None, note="not measured: no such clips"),))
    clips = [bench.clips[place] for place in places]
    rate = bench.model.frame_format[0]
    videos: list[NDArray[np.uint8]] = []
    for number, clip in enumerate(clips):
        bench.watch.report("Rendering videos", number, len(clips))
        videos.append(render_at_pack_rate(clip.scene, Fraction(rate), bench.model.frame_format))
    energies = [_energy_of(bench, frames, clip) for frames, clip in zip(videos, clips, strict=True)]
    produced = bench.generate(
        "Sound from video",
        [clip.plain for clip in clips],
        [Controls(energy=energy) for energy in energies],
        seeds=[clip.seed for clip in clips],
    )
    sounds = {
        "picture": produced.waveforms,
        "real": [clip.sound for clip in clips],
        "words": bench.uncontrolled_sounds.choose(places).waveforms,
    }
    moving = [motion_peaks(frames, rate) for frames in videos]
    aligned = {name: _align(row, moving, rate) for name, row in sounds.items()}
    shared = {name: _align(row, moving, rate, one_to_one=True) for name, row in sounds.items()}
    to_picture, _ = energy_agreements(energies, produced.log_mels)
    to_sound, _ = energy_agreements([clip.energy for clip in clips], produced.log_mels)
    figures = (
        Figure(*_FROM_VIDEO, float(np.mean(aligned["picture"]))),
        Figure("av_align_words", "AV-Align, prompt alone", float(np.mean(aligned["words"]))),
        Figure(
            "av_align_real",
            "AV-Align, original sound",
            float(np.mean(aligned["real"])),
            note="alignment of the world itself",
        ),
        Figure("av_align_one_to_one", "AV-Align with at most one partner per peak", float(np.mean(shared["picture"]))),
        Figure(
            "from_picture_correlation",
            "Energy correlation of sound from video with the estimate",
            float(np.mean(to_picture)),
        ),
        Figure(
            "from_picture_true_correlation",
            "Energy correlation of sound from video with the original sound",
            float(np.mean(to_sound)),
        ),
        Figure(
            "from_picture_class",
            "Class accuracy of sounds from video",
            share_correct(bench.judge, clips, produced.log_mels),
        ),
    )
    details = {
        "clips": len(clips),
        "one_to_one": {name: round(float(np.mean(row)), 4) for name, row in shared.items()},
    }
    return Section("align", "Sound from video", figures, details)


def _energy_of(bench: Bench, frames: NDArray[np.uint8], clip: BenchClip) -> FloatArray:
    bench.watch.check()
    estimate = bench.model.estimate_energy_from_frames(frames, prompt=clip.plain)
    curve = EnergyCurve(estimate, bench.model.frame_format[0], "picture")
    return curve.resample(bench.model.front_end.config.frame_rate_hz, len(clip.energy))


def _align(
    sounds: Sequence[FloatArray], moving: Sequence[Peaks], rate: Fraction, *, one_to_one: bool = False
) -> list[float]:
    return [
        av_align(detect_onsets(sound, SAMPLE_RATE_HZ)[0], peaks_s, rate, one_to_one=one_to_one)
        for sound, peaks_s in zip(sounds, moving, strict=True)
    ]
