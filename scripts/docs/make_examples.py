"""Make docs/examples.md: what the starter pack makes of words, energies, onsets, texture and pictures.

Everything on the page, its sounds and pictures too, is written anew: `python scripts/docs/make_examples.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile

from rewas_engine import EnergyCurve, ReWaS
from rewas_engine.conditioning.controls import Controls, onset_track
from rewas_engine.conditioning.mel import normalised
from rewas_engine.curves.energy import SILENCE_NATS, FloatArray, energy_agreement
from rewas_engine.training.sample_sheets import Panel, draw_sheet
from rewas_engine.world import render_brightness, render_layers, sample_scene

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOLDER = DOCS / "examples"
FRAMES = 400
SEED = 7
PICTURE_SEED = 910_000_000


@dataclass(frozen=True, eq=False)
class Example:
    """One sound of the page: its words, what it follows, and what is said of it."""

    name: str
    prompt: str
    controls: Controls
    told: str


def main() -> None:
    model = ReWaS.from_pretrained("starter")
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    sections = [
        (
            "One curve, four prompts",
            "Words say what sounds, the curve says when and how strongly.",
            [_example(prompt, _strikes(), "Seven blows that grow.") for prompt in IMPACT_PROMPTS],
        ),
        (
            "Running sounds",
            "The same for what has no separate blows: a swell, and a gust that stops in true silence.",
            [_example(prompt, _swell(), "A swell, a stop, a short return.") for prompt in RUNNING],
        ),
        (
            "One prompt, three curves",
            "The class does not decide the course.",
            [
                _example("a dog barking", curve, told)
                for curve, told in ((_strikes(), "Blows."), (_swell(), "A swell."), (_steady(), "Steady."))
            ],
        ),
        ("Onsets instead of energy", "Sharp times; the model chooses how each sound dies away.", _onset_examples()),
        (
            "Texture beside energy",
            "The same words and energy, tilted towards low and high bands.",
            _texture_examples(),
        ),
        (
            "From picture to sound",
            "The energy is read from a clip of the world, then followed.",
            _seen(model),
        ),
    ]
    text = [_PAGE_HEADER.format(pack=model.pack.name, version=model.pack.version, licence=model.pack.licence)]
    for number, (title, told, examples) in enumerate(sections, start=1):
        picture = f"{number}-{_slug(title)}.png"
        rows = [_made(model, example, number) for example in examples]
        draw_sheet(FOLDER / picture, title, [panel for panel, _ in rows])
        text += [f"## {title}\n", f"{told}\n", f"![Log-mels and energies: {title}](examples/{picture})\n"]
        text += ["| words | control | sound | correlation | error, nats |", "|---|---|---|---|---|"]
        text += [row for _, row in rows] + [""]
    (DOCS / "examples.md").write_text("\n".join(text).rstrip() + "\n", "utf-8")


IMPACT_PROMPTS = ("a hammer on an anvil", "a ball bouncing", "a snare drum", "footsteps on gravel")
RUNNING = ("heavy rain", "wind in the trees", "a helicopter overhead", "the sea breaking on a beach")
_PAGE_HEADER = """# Examples

Made by `python scripts/docs/make_examples.py` with the pack {pack} {version} ({licence}), seed 7, on a CPU. Each
picture
shows the log-mel spectrogram with the energy that was asked for and the one that came out. Everything is synthetic: the
pack was trained on sounds that a program makes, and sounds like it.
"""


def _slug(words: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", words.lower()))


def _example(prompt: str, energy: FloatArray, told: str) -> Example:
    return Example(prompt, prompt, Controls(energy=energy), told)


def _strikes() -> FloatArray:
    energy = np.full(FRAMES, SILENCE_NATS, np.float32)
    for number in range(7):
        start = 20 + 52 * number
        fall = -1.5 - 0.25 * (6 - number) * 2 - 0.16 * np.arange(45)
        energy[start : start + 45] = np.maximum(energy[start : start + 45], fall)
    return energy


def _swell() -> FloatArray:
    times = np.arange(FRAMES) / FRAMES
    energy = -7 + 5 * np.sin(np.pi * times / 0.62) ** 2
    energy[(times > 0.62) & (times < 0.78)] = SILENCE_NATS
    energy[times >= 0.78] = -3.5
    return energy.astype(np.float32)


def _steady() -> FloatArray:
    return np.full(FRAMES, -3.5, np.float32)


def _onset_examples() -> list[Example]:
    times_s = np.array([0.3, 0.9, 1.4, 1.8, 2.1, 2.35, 2.55, 2.7, 3.4])
    track = onset_track(times_s, np.linspace(0.6, 1.0, times_s.size), FRAMES, 100.0)
    controls = Controls(onsets=track)
    prompts = ("knocking on wood", "a gunshot", "hands clapping")
    return [Example(prompt, prompt, controls, "Nine onsets that hurry and stop.") for prompt in prompts]


def _texture_examples() -> list[Example]:
    tilts = (("low", (2.0, 0.7, -0.9, -1.8)), ("high", (-1.5, -0.5, 0.7, 1.3)))
    return [
        Example(
            "wind",
            "wind",
            Controls(energy=_swell(), texture=np.tile(np.array(bands, np.float32), (FRAMES, 1))),
            f"Tilted towards {name}.",
        )
        for name, bands in tilts
    ]


def _seen(model: ReWaS) -> list[Example]:
    examples = []
    for seed, class_name in enumerate(("hammer", "wood_floor_steps", "sea_waves")):
        scene = sample_scene(PICTURE_SEED + seed, class_name, pattern="regular" if seed < 2 else "swell")
        rate, width, height = model.picture_format
        frames = render_brightness(scene, frame_rate=rate, width=width, height=height)
        read = EnergyCurve(model.energy_of_frames(frames), rate, "picture")
        energy = read.at(Fraction(100), FRAMES)
        true = model.front_end.measure(normalised(render_layers(scene)["primary"])).values[:FRAMES]
        _, agreement = energy_agreement(true, energy)
        told = f"Read from the picture; correlation with the clip's own sound {agreement or 0.0:.2f}."
        examples.append(Example(scene.caption, scene.caption, Controls(energy=energy), told))
    return examples


def _made(model: ReWaS, example: Example, section: int) -> tuple[Panel, str]:
    settings = model.sampling_settings(control="onsets" if example.controls.energy is None else "energy")
    log_mel = model.sound.log_mel(example.prompt, example.controls, SEED, settings)[:FRAMES]
    samples = FRAMES * model.front_end.config.hop_samples
    waveform = model.sound.vocoding.waveform(log_mel, samples)
    name = f"{section}-{_slug(example.name)}-{_slug(example.told.split(';')[0])}.wav"
    soundfile.write(FOLDER / name, waveform, model.pack.sample_rate_hz, subtype="PCM_16")
    produced = model.front_end.measure(waveform).values
    curves = [("made", produced)]
    figures = "| |"
    if example.controls.energy is not None:
        mae_nats, correlation = energy_agreement(example.controls.energy, produced)
        curves.insert(0, ("asked for", example.controls.energy))
        figures = f"{correlation or 0.0:.2f} | {mae_nats:.2f} |"
    panel = Panel(f"{example.prompt}: {example.told}", log_mel.cpu().numpy(), tuple(curves))
    return panel, f"| {example.prompt} | {example.told} | [{name}](examples/{name}) | {figures}"


if __name__ == "__main__":
    main()
