"""Generate the sounds and spectrograms of docs/examples.md with the starter pack.

Usage: python scripts/docs/make_examples.py [--tracked]

All of them are written to docs/generated, which git ignores. With --tracked, the page itself and the few files of it
that are in the repository (TRACKED) are written too.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from rewas_engine import Control, EnergyCurve, ReWaS
from rewas_engine.conditioning.controls import Controls, onset_track
from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import SILENCE_NATS, FloatArray, energy_agreement
from rewas_engine.training.sample_sheets import Panel, draw_sheet
from rewas_engine.world import render_brightness, render_layers, sample_scene

DOCS = Path(__file__).resolve().parents[2] / "docs"
GENERATED = DOCS / "generated"
TRACKED_FOLDER = DOCS / "examples"
TRACKED = ("1-one-curve-four-prompts.png", "1-a-hammer-on-an-anvil.wav", "2-the-sea-breaking-on-a-beach.wav")
FRAMES = 400
SEED = 7
SCENE_SEED = 910_000_000
COLOURS = 128
STRUCK = ("a hammer on an anvil", "a ball bouncing", "a snare drum", "footsteps on gravel")
SUSTAINED = ("heavy rain", "wind in the trees", "a helicopter overhead", "the sea breaking on a beach")
HEAD = """# Examples

`python scripts/docs/make_examples.py` generated these sounds with the pack {pack} {version} ({licence}), seed 7,
on a CPU. Each plot shows the log-mel spectrogram with the requested energy and the energy of the generated sound. All
of it is synthetic: the pack was trained on synthesised sounds, and it sounds like them.

Two of the sounds and one of the plots are in the repository. `make docs` generates the others and builds a site with
all of them.
"""


@dataclass(frozen=True, eq=False)
class Example:
    """One sound of the page. control: what it follows, in words. suffix: makes its file name unique in its section."""

    prompt: str
    controls: Controls
    control: str
    suffix: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """One section of the page, with one sheet of spectrograms."""

    title: str
    text: str
    examples: Sequence[Example]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracked", action="store_true", help="also write docs/examples.md and docs/examples/")
    with_tracked = parser.parse_args().tracked
    model = ReWaS.from_pretrained("starter")
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir()
    text = [HEAD.format(pack=model.pack.name, version=model.pack.version, licence=model.pack.licence)]
    for number, section in enumerate(sections(model), start=1):
        text += write_section(model, section, number)
    if with_tracked:
        TRACKED_FOLDER.mkdir(exist_ok=True)
        for name in TRACKED:
            shutil.copy(GENERATED / name, TRACKED_FOLDER / name)
        (DOCS / "examples.md").write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def sections(model: ReWaS) -> list[Section]:
    strikes, swell = strikes_curve(), swell_curve()
    barks = (
        ("strikes", strikes, "Seven strikes"),
        ("swell", swell, "A swell, a stop, a short return"),
        ("steady", steady_curve(), "Steady"),
    )
    return [
        Section(
            "One curve, four prompts",
            "The prompt decides what sounds; the curve decides when and how strongly.",
            [Example(prompt, Controls(energy=strikes), "Seven strikes of increasing strength") for prompt in STRUCK],
        ),
        Section(
            "Continuous sounds",
            "The same for sounds without separate strikes: a swell that stops in complete silence, and a short return.",
            [Example(prompt, Controls(energy=swell), "A swell, a stop, a short return") for prompt in SUSTAINED],
        ),
        Section(
            "One prompt, three curves",
            "The kind of sound does not limit the curve.",
            [Example("a dog barking", Controls(energy=curve), control, name) for name, curve, control in barks],
        ),
        Section(
            "Onsets instead of energy",
            "Exact times; the model decides how each sound rings out.",
            onset_examples(),
        ),
        Section(
            "Texture and energy",
            "The same prompt and energy, tilted towards the low and the high bands.",
            texture_examples(),
        ),
        Section(
            "From video to sound",
            "The energy is estimated from a clip of the synthetic world; the sound follows it.",
            video_examples(model),
        ),
    ]


def strikes_curve() -> FloatArray:
    energy = np.full(FRAMES, SILENCE_NATS, np.float32)
    for number in range(7):
        start = 20 + 52 * number
        decay = -1.5 - 0.25 * (6 - number) * 2 - 0.16 * np.arange(45)
        energy[start : start + 45] = np.maximum(energy[start : start + 45], decay)
    return energy


def swell_curve() -> FloatArray:
    times = np.arange(FRAMES) / FRAMES
    energy = -7 + 5 * np.sin(np.pi * times / 0.62) ** 2
    energy[(times > 0.62) & (times < 0.78)] = SILENCE_NATS
    energy[times >= 0.78] = -3.5
    return energy.astype(np.float32)


def steady_curve() -> FloatArray:
    return np.full(FRAMES, -3.5, np.float32)


def onset_examples() -> list[Example]:
    times_s = np.array([0.3, 0.9, 1.4, 1.8, 2.1, 2.35, 2.55, 2.7, 3.4])
    track = onset_track(times_s, np.linspace(0.6, 1.0, times_s.size), FRAMES, 100.0)
    prompts = ("knocking on wood", "a gunshot", "hands clapping")
    return [
        Example(prompt, Controls(onsets=track), "Nine onsets, faster and faster, and one more") for prompt in prompts
    ]


def texture_examples() -> list[Example]:
    tilts = (("low", (2.0, 0.7, -0.9, -1.8)), ("high", (-1.5, -0.5, 0.7, 1.3)))
    return [
        Example(
            "wind",
            Controls(energy=swell_curve(), texture=np.tile(np.array(bands, np.float32), (FRAMES, 1))),
            f"Tilted towards the {name} bands",
            name,
        )
        for name, bands in tilts
    ]


def video_examples(model: ReWaS) -> list[Example]:
    examples = []
    for seed, class_name in enumerate(("hammer", "wood_floor_steps", "sea_waves")):
        scene = sample_scene(SCENE_SEED + seed, class_name, pattern="regular" if seed < 2 else "swell")
        rate, width, height = model.frame_format
        frames = render_brightness(scene, frame_rate=rate, width=width, height=height)
        energy = EnergyCurve(model.estimate_energy_from_frames(frames), rate, "picture").resample(Fraction(100), FRAMES)
        true = model.front_end.measure_energy(normalise(render_layers(scene)["primary"])).values[:FRAMES]
        _, correlation = energy_agreement(true, energy)
        control = f"Estimated from the video; correlation with the clip's own sound {correlation or 0.0:.2f}"
        examples.append(Example(scene.caption, Controls(energy=energy), control))
    return examples


def write_section(model: ReWaS, section: Section, number: int) -> list[str]:
    """Write the sounds and the sheet of a section; return its lines on the page."""
    generated = [generate(model, example, number) for example in section.examples]
    sheet = f"{number}-{slug(section.title)}.png"
    write_sheet(GENERATED / sheet, section.title, [panel for panel, _ in generated])
    plot = f"![Log-mels and energies: {section.title}](examples/{sheet})" if sheet in TRACKED else f"Plot: `{sheet}`"
    return [
        f"## {section.title}\n",
        f"{section.text}\n",
        f"{plot}\n",
        "| Prompt | Control | Sound | Correlation | Error, nats |",
        "|---|---|---|---|---|",
        *(row for _, row in generated),
        "",
    ]


def generate(model: ReWaS, example: Example, section: int) -> tuple[Panel, str]:
    """Write one sound; return its panel on the sheet and its row on the page."""
    settings = model.sampling_settings(control=Control(kind="onsets" if example.controls.energy is None else "energy"))
    log_mel = model.sound_generator.generate_log_mel(example.prompt, example.controls, SEED, settings)[:FRAMES]
    samples = FRAMES * model.front_end.config.hop_samples
    waveform = model.sound_generator.vocoder.vocode(log_mel, samples)
    name = "-".join(part for part in (str(section), slug(example.prompt), example.suffix) if part) + ".wav"
    soundfile.write(GENERATED / name, waveform, model.pack.sample_rate_hz, subtype="PCM_16")
    produced = model.front_end.measure_energy(waveform).values
    curves = [("generated", produced)]
    figures = "| |"
    if example.controls.energy is not None:
        mae_nats, correlation = energy_agreement(example.controls.energy, produced)
        curves.insert(0, ("requested", example.controls.energy))
        figures = f"{correlation or 0.0:.2f} | {mae_nats:.2f} |"
    panel = Panel(f"{example.prompt}: {example.control}", log_mel.cpu().numpy(), tuple(curves))
    sound = f"[{name}](examples/{name})" if name in TRACKED else f"`{name}`"
    return panel, f"| {example.prompt} | {example.control} | {sound} | {figures}"


def write_sheet(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Write a sheet with few colours, which keeps the file small."""
    draw_sheet(path, title, panels)
    drawn = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    drawn.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


if __name__ == "__main__":
    main()
