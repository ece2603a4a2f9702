"""Measure long sounds, loops and cuts, and print the tables of docs/controls.md in Markdown.

    python scripts/measure/long_sounds.py seams loops cuts --clips 50

Sounds of 20 to 30 seconds of the synthetic world, controlled by their true energy; loops of 5 to 15 seconds; cuts in
its videos. The scenes are from the development split.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from rewas_engine import ReWaS
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.evaluation.cuts import render_films, score_cuts
from rewas_engine.evaluation.seams import border_masks, compare, spectral_flux, window_borders
from rewas_engine.evaluation.splits import DEVELOPMENT_SEED, TEST, drop_ambience
from rewas_engine.exact_time import sample_count
from rewas_engine.world import AMBIENCE_CLASSES, CLASS_NAMES, Scene, render_sound, sample_scene

SHORTEST_S, LONGEST_S = 20, 30
MARGIN_FRAMES = 50
FIRST_SEED = DEVELOPMENT_SEED + 7_000_000


def main() -> None:
    """Print the requested tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", choices=tuple(TABLES))
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--pack", default="starter")
    options = parser.parse_args()
    model = ReWaS.from_pretrained(options.pack, device="cpu")
    for name in options.tables:
        for line in TABLES[name](model, options.clips):
            print(line, flush=True)
        print(flush=True)


def scenes(clips: int) -> Iterator[Scene]:
    """Yield audible scenes of 20 to 30 seconds, cycling through all classes."""
    rng = np.random.default_rng(FIRST_SEED)
    number = 0
    for _ in range(clips):
        while True:
            duration_s = float(rng.integers(SHORTEST_S * 10, LONGEST_S * 10)) / 10
            scene = sample_scene(FIRST_SEED + number, CLASS_NAMES[number % len(CLASS_NAMES)], duration_s)
            number += 1
            if not scene.is_silent:
                yield drop_ambience(scene)
                break


def seam_table(model: ReWaS, clips: int) -> Iterator[str]:
    """Compare energy error and spectral flux at window borders and elsewhere."""
    measures: dict[str, tuple[list[float], list[float]]] = {"error": ([], []), "flux": ([], []), "step": ([], [])}
    borders_met = 0
    for number, scene in enumerate(scenes(clips)):
        requested = model.front_end.measure_energy(normalise(render_sound(scene).astype(np.float32)))
        frames = len(requested.values)
        log_mel = model.sound_generator.generate_log_mel(
            scene.caption, Controls.from_energy(requested), number, model.sampling_settings()
        )
        log_mels = model.front_end.encode(
            model.sound_generator.vocoder.vocode(log_mel, frames * model.front_end.config.hop_samples)
        ).numpy()
        window = model.sound_generator.window
        borders = window_borders(window.starts(window.whole(frames)), window.frames)
        borders_met += len(borders)
        near, far = border_masks(borders, frames, MARGIN_FRAMES)
        produced = log_mels.mean(axis=1)
        for name, values in (
            ("error", np.abs(produced - requested.values)),
            ("flux", spectral_flux(log_mels)),
            ("step", np.abs(np.diff(produced, prepend=produced[:1]))),
        ):
            measures[name][0].append(float(values[near].mean()))
            measures[name][1].append(float(values[far].mean()))
        print(f"<!-- {number + 1} of {clips} -->", flush=True)
    yield f"{clips} sounds of 20 to 30 s, {borders_met} borders."
    yield ""
    yield from _table(
        {
            "Energy error (nats)": measures["error"],
            "Spectral flux (nats per frame)": measures["flux"],
            "Step in level (nats per frame)": measures["step"],
        },
        "At a border",
    )


def loop_table(model: ReWaS, clips: int) -> Iterator[str]:
    """Compare level, spectrum and samples at the join of loops and elsewhere."""
    names = ("Step in level (nats per frame)", "Spectral flux (nats per frame)", "Step from sample to sample")
    measures: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    rng, config = np.random.default_rng(FIRST_SEED), model.front_end.config
    for number in range(clips):
        duration_s = Fraction(int(rng.integers(500, 1500)), 100) + Fraction(1, 3)
        samples = sample_count(duration_s, config.sample_rate_hz)
        frames = model.sound_generator.round_up_frames(model.front_end.frame_count(samples))
        level_nats = float(rng.uniform(-7, -4))
        energy = EnergyCurve(np.full(frames, level_nats, np.float32), config.frame_rate_hz)
        prompt = AMBIENCE_CLASSES[number % len(AMBIENCE_CLASSES)].replace("_", " ")
        log_mel = model.sound_generator.generate_log_mel(
            prompt, Controls.from_energy(energy), number, model.sampling_settings(), is_loop=True
        )
        loop = model.sound_generator.vocoder.vocode_loop(log_mel, samples)
        # Measured with the end before the beginning, in whole frames on both sides of the join.
        half = samples // 2 // config.hop_samples * config.hop_samples
        around = np.concatenate([loop[-half:], loop[:half]])
        log_mels, join = model.front_end.encode(around).numpy(), half // config.hop_samples
        produced = log_mels.mean(axis=1)
        near, far = border_masks([join], len(produced), MARGIN_FRAMES // 2)
        # Compared with steps at the same position within a hop, because a vocoder may depend on that position.
        steps = np.abs(np.diff(loop))[(samples - 1) % config.hop_samples :: config.hop_samples]
        for name, values in (
            (names[0], np.abs(np.diff(produced, prepend=produced[:1]))),
            (names[1], spectral_flux(log_mels)),
        ):
            measures[name][0].append(float(values[near].mean()))
            measures[name][1].append(float(values[far].mean()))
        measures[names[2]][0].append(abs(float(loop[0] - loop[-1])))
        measures[names[2]][1].append(float(steps.mean()))
    yield f"{clips} loops of 5 to 15 s of {len(AMBIENCE_CLASSES)} ambiences."
    yield ""
    yield from _table(measures, "At the join")


def cut_table(model: ReWaS, clips: int) -> Iterator[str]:
    """Count found, missed and false cuts in small videos."""
    yield "| Pictures | Clips | Cuts | Found | False |"
    yield "|---|---|---|---|---|"
    for kind, films in render_films(TEST, clips).items():
        score = score_cuts(films)
        yield f"| {kind} | {score.clips} | {score.found + score.missed} | {score.found} | {score.false} |"


def _table(measures: dict[str, tuple[list[float], list[float]]], where: str) -> Iterator[str]:
    yield f"| | {where} | Elsewhere | Ratio, with 95 % confidence |"
    yield "|---|---|---|---|"
    for name, (at, elsewhere) in measures.items():
        ratio = compare(at, elsewhere)
        confidence = f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        yield f"| {name} | {ratio.at:.4f} | {ratio.elsewhere:.4f} | {confidence} |"


TABLES: dict[str, Callable[[ReWaS, int], Iterator[str]]] = {"seams": seam_table, "loops": loop_table, "cuts": cut_table}


if __name__ == "__main__":
    main()
