"""Draw the plots of docs/controls.md: the starter pack with each control, over a clip of the synthetic world.

Each row is a sound: its spectrogram, the requested energy (blue) and the energy of the sound (orange).

    python scripts/docs/draw_controls.py [NAME …]
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from rewas_engine import (
    SILENCE_NATS,
    Control,
    EnergyCurve,
    EnergyEvent,
    Layer,
    Output,
    Regenerate,
    ReWaS,
    Sampling,
    Stem,
    VideoClip,
    apply_edits,
    curve_from_points,
    find_cuts,
    find_events,
    flat_curve,
    flat_texture,
    parse_edit,
    read_curve,
    write_curve,
)
from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import energy_agreement
from rewas_engine.evaluation.seams import window_borders
from rewas_engine.world import ENVELOPE_RATE_HZ, render_sound, render_video

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))
from make_demo_clips import DRAWN_CLIPS, FRAME_RATE, HEIGHT, WIDTH, encode, make_clip, outline

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"
SEED = 11
RATE_HZ = 16_000
BLUE, ORANGE, INK = "#1257b8", "#e0560a", "#333d47"
SHADES, COLOURS = 20, 96
LOUDEST_NATS = 1.0
LONG_CLIP_S = 24
CLAP_TIMES_S = (0.4, 1.4, 1.65, 1.9, 3.2)


@dataclass(frozen=True, eq=False)
class Row:
    """One sound to draw. label: above its left end. verdict: above its right end. marks_s: times of vertical lines."""

    label: str
    waveform: NDArray[np.float32]
    requested: EnergyCurve | None = None
    verdict: str = ""
    events: tuple[EnergyEvent, ...] = ()
    marks_s: tuple[float, ...] = ()
    zoom_s: tuple[float, float] | None = None


@dataclass
class Studio:
    """The starter pack, the demo's clip of a hammer, and recordings to take energy from."""

    folder: Path
    model: ReWaS = field(default_factory=ReWaS.from_pretrained)

    def __post_init__(self) -> None:
        demo = next(clip for clip in DRAWN_CLIPS if clip.file_name == "hammer.mp4")
        self.clip, self.prompt = VideoClip(make_clip(demo, self.folder)), demo.prompt
        self.duration_s = demo.duration_s
        self.own = self._sound("own.wav", normalise(render_sound(demo.scene())))
        hands = outline(
            np.array(CLAP_TIMES_S), np.linspace(0.5, 1, len(CLAP_TIMES_S)), round(self.duration_s * ENVELOPE_RATE_HZ)
        )
        noise = np.random.default_rng(0).normal(0, 0.2, round(self.duration_s * RATE_HZ))
        swell = np.interp(np.arange(noise.size) / RATE_HZ, np.arange(hands.size) / ENVELOPE_RATE_HZ, hands**3)
        self.hands = self._sound("hands.wav", (noise * swell).astype(np.float32))

    def _sound(self, name: str, waveform: NDArray[np.float32]) -> VideoClip:
        samples = round(self.duration_s * RATE_HZ)
        soundfile.write(self.folder / name, np.resize(waveform, samples), RATE_HZ, subtype="FLOAT")
        return VideoClip(self.folder / name)

    def energy(self, clip: VideoClip) -> EnergyCurve:
        return self.model.measure_energy(clip).with_duration(self.duration_s)

    def points(self, *points: tuple[float, float]) -> EnergyCurve:
        return curve_from_points([*points, (float(self.duration_s), SILENCE_NATS)], duration=self.duration_s)

    def row(
        self,
        label: str,
        energy: EnergyCurve | None = None,
        prompt: str | None = None,
        *,
        control: dict[str, Any] | None = None,
        loop: bool = False,
        **settings: Any,
    ) -> Row:
        """Generate a sound for the clip and return its row."""
        result = self.model.generate(
            self.clip,
            prompt=prompt or self.prompt,
            seed=SEED,
            control=Control(energy=energy, **(control or {})),
            output=Output(sample_rate_hz=RATE_HZ, loop=loop),
            **settings,
        )
        take = result.takes[0]
        match = take.energy_correlation
        verdict = ("" if match is None else f"correlation {match:.2f}, ") + f"{take.energy_mae_nats:.2f} nats error"
        if take.texture_error_nats is not None and take.produced_texture and result.requested_texture:
            requested, generated = (c.tilt_nats.mean() for c in (result.requested_texture, take.produced_texture))
            verdict += f"; tilt {requested:+.1f} requested, {generated:+.1f} generated"
        return Row(label, take.stems["primary"].waveform[0], result.requested_energy, verdict)

    def measure_tilt(self, row: Row) -> float:
        soundfile.write(self.folder / "row.wav", row.waveform, RATE_HZ, subtype="FLOAT")
        return float(self.model.measure_texture(VideoClip(self.folder / "row.wav")).tilt_nats.mean())


def sources(studio: Studio) -> list[Row]:
    written = write_curve(studio.points((0, -11.5), (1.2, -2.5), (1.3, -11.5), (2, -11.5), (3.6, -3)), _csv(studio))
    return [
        studio.row("--energy video: estimated from the video"),
        studio.row("--energy audio: the sound of the scene", studio.energy(studio.own)),
        studio.row("--energy hands.wav: five slaps on a table", studio.energy(studio.hands)),
        studio.row("--energy curve.csv: points", read_curve(written, duration=studio.duration_s), "heavy rain"),
        studio.row("--energy flat:-5: one constant level", flat_curve(duration=studio.duration_s), "heavy rain"),
    ]


def edits(studio: Studio) -> list[Row]:
    energy = studio.energy(studio.own)
    rows = [studio.row("no edit: measured on the sound of the scene", energy)]
    for edit in ("scale 0.7", "gate -6", "smooth 0.6", "fade out 3", "shift 0.4", "stretch 1.5"):
        rows.append(studio.row(f"--edit “{edit}”", apply_edits(energy, [parse_edit(edit)])))
    return rows


def events(studio: Studio) -> list[Row]:
    energy = studio.energy(studio.own)
    rows = [studio.row("no edit: the events, numbered as by --events", energy)]
    for edit in ("isolate event 3", "mute events 2 5", "boost event 1 by 2", "move event 7 to 1.8"):
        rows.append(studio.row(f"--edit “{edit}”", apply_edits(energy, [parse_edit(edit)])))
    return [Row(row.label, row.waveform, row.requested, row.verdict, find_events(row.requested)) for row in rows]


def onsets(studio: Studio) -> list[Row]:
    slow = apply_edits(studio.energy(studio.own), [parse_edit("smooth 0.5")])
    rows = [
        studio.row("--control energy: too soft for a hammer, so the model chooses the times of the strikes", slow),
        studio.row(
            "--control onsets: strikes at the times of the events of the same curve", slow, control={"kind": "onsets"}
        ),
    ]
    times_s = tuple(event.time_s for event in find_events(slow))
    return [Row(row.label, row.waveform, row.requested, row.verdict, marks_s=times_s) for row in rows]


def strength(studio: Studio) -> list[Row]:
    energy = studio.points((0, -8), (1, -8), (2.2, -3), (2.3, -9), (3.2, -9), (3.3, -4), (4.1, -4))
    rows = [
        studio.row(f"--control-strength {value:g}", energy, "heavy rain", control={"strength": value})
        for value in (0, 0.3, 1, 2)
    ]
    for name, part in (("--control-end 0.3", (0.0, 0.3)), ("--control-start 0.3", (0.3, 1.0))):
        rows.append(studio.row(name, energy, "heavy rain", control={"start": part[0], "end": part[1]}))
    return rows


def silence(studio: Studio) -> list[Row]:
    energy = studio.points(
        (0, -4), (1, -4), (1.01, -11.5), (1.25, -11.5), (1.26, -4), (2.2, -4), (2.21, -11.5), (3.2, -11.5), (3.21, -4),
        (4.1, -4),
    )  # fmt: skip
    row = studio.row("two gaps of 0.24 s and 0.99 s", energy, "a stream running over stones")
    quiet = row.waveform[round(2.25 * RATE_HZ) : round(3.15 * RATE_HZ)]
    return [Row(row.label, row.waveform, row.requested, f"largest sample in the long gap: {np.abs(quiet).max():g}")]


def texture(studio: Studio) -> list[Row]:
    energy = apply_edits(flat_curve(duration=studio.duration_s, nats=-5.5), [parse_edit("fade in 1.5")])
    rows = []
    for prompt in ("heavy rain", "wind in the trees"):
        plain = studio.row(f"{prompt}: no texture requested", energy, prompt)
        rows.append(
            Row(plain.label, plain.waveform, energy, f"{plain.verdict}; tilt {studio.measure_tilt(plain):+.1f}")
        )
        for tilt_nats in (-6, 6):
            curve = flat_texture(duration=studio.duration_s, tilt_nats=tilt_nats)
            rows.append(studio.row(f"{prompt}: --texture tilt:{tilt_nats}", energy, prompt, control={"texture": curve}))
    return rows


def layers(studio: Studio) -> list[Row]:
    crowd = studio.points((0, -11.5), (2, -11.5), (3.5, -4))
    settings = [
        Layer("ambience", "wind in the trees", gain_db=-12),
        Layer("rain", "heavy rain", "following", gain_db=-6),
        Layer("crowd", "people clapping", crowd),
    ]
    result = studio.model.generate(
        studio.clip,
        prompt=studio.prompt,
        layers=settings,
        seed=SEED,
        control=Control(energy=studio.energy(studio.own)),
        output=Output(sample_rate_hz=RATE_HZ),
    )
    take = result.takes[0]
    labels = {
        "primary": f"primary: {studio.prompt}",
        "ambience": "ambience, steady, -12 dB: wind in the trees",
        "rain": "rain, following, -6 dB: heavy rain",
        "crowd": "crowd, with its own curve: people clapping",
    }
    requested = {name: report.requested_energy for name, report in take.layers.items()} | {
        "primary": result.requested_energy
    }
    rows = [Row(labels[role], stem.waveform[0], requested[role]) for role, stem in take.stems.items()]
    return [*rows, Row("mix: the sum of all", take.mix().waveform[0])]


def negative(studio: Studio) -> list[Row]:
    energy = flat_curve(duration=studio.duration_s, nats=-5)
    rows = []
    for label, settings in (
        ("“water”", {"sampling": Sampling(guidance_scale=2.0)}),
        (
            "“water”, --negative-prompt “waves on a beach”",
            {"sampling": Sampling(guidance_scale=2.0, negative_prompt="waves on a beach")},
        ),
        (
            "“water”, --negative-prompt “heavy rain”",
            {"sampling": Sampling(guidance_scale=2.0, negative_prompt="heavy rain")},
        ),
    ):
        row = studio.row(label, energy, "water", **settings)
        scores = [
            f"{prompt}: {studio.model.score_text_sound(prompt, row.waveform):.2f}"
            for prompt in ("heavy rain", "waves on a beach")
        ]
        rows.append(Row(label, row.waveform, row.requested, "scores: " + ", ".join(scores)))
    return rows


def loop(studio: Studio) -> list[Row]:
    sounds = [
        (label, studio.row(label, flat_curve(duration=studio.duration_s), "a stream running over stones", loop=loops))
        for label, loops in (("--loop, repeated once", True), ("without --loop, repeated once", False))
    ]
    end_s = float(studio.duration_s)
    rows = []
    for label, row in sounds:
        twice = np.tile(row.waveform, 2)
        step = _spectral_change_at(studio, twice, row.waveform.size)
        rows.append(
            Row(
                label,
                twice,
                None,
                f"step at the join {step:.1f} times the median",
                (),
                (end_s,),
                (end_s - 1, end_s + 1),
            )
        )
    return rows


def again(studio: Studio) -> list[Row]:
    energy = studio.energy(studio.own)
    old = studio.row("a take", energy)
    stem = Stem("primary", old.waveform[None], RATE_HZ)
    short = Stem("primary", old.waveform[None, : 2 * RATE_HZ], RATE_HZ)
    slammed = "a door slams"
    rows = [
        old,
        studio.row(
            "--range 1.1-2.5, “a door slams”", energy, slammed, regenerate=Regenerate(stem, Fraction("1.1"), 2.5)
        ),
        studio.row("--strength 0.3: a variation", energy, regenerate=Regenerate(stem, strength=0.3)),
        studio.row("its first 2 s, --range 2-: a continuation", energy, regenerate=Regenerate(short, 2)),
    ]
    marks: Sequence[tuple[float, ...]] = ((), (1.1, 2.5), (), (2.0,))
    marked = []
    for row, marks_s in zip(rows, marks, strict=True):
        same = float(np.mean(row.waveform == old.waveform))
        verdict = f"{row.verdict}; {100 * same:.0f} % of the samples unchanged"
        marked.append(Row(row.label, row.waveform, row.requested, verdict, (), marks_s))
    return marked


def takes(studio: Studio) -> list[Row]:
    result = studio.model.generate(
        studio.clip,
        prompt="typing on a keyboard",
        takes=4,
        seed=SEED,
        control=Control(energy=studio.energy(studio.own)),
        output=Output(sample_rate_hz=RATE_HZ),
        sampling=Sampling(num_inference_steps=4),
    )
    rows = []
    for number, take in enumerate(result.takes, start=1):
        faults = f"; faults: {', '.join(take.faults)}" if take.faults else ""
        prompt_score = "" if take.text_score is None else f", prompt {take.text_score:.2f}"
        verdict = f"score {take.score:.2f}: energy {take.energy_correlation or 0:.2f}{prompt_score}{faults}"
        rows.append(
            Row(f"take {number}, seed {take.seed}", take.stems["primary"].waveform[0], result.requested_energy, verdict)
        )
    return rows


def length(studio: Studio) -> list[Row]:
    demo = next(clip for clip in DRAWN_CLIPS if clip.file_name == "hammer.mp4")
    blows = np.random.default_rng(SEED).uniform(0.4, 1.6, 40).cumsum()
    contacts_s = tuple(blows[blows < LONG_CLIP_S - 1])
    strengths = tuple(np.random.default_rng(SEED).uniform(0.4, 1, len(contacts_s)))
    frames = int(LONG_CLIP_S * FRAME_RATE)
    long = replace(demo, file_name="long.mp4", frames=frames, contacts_s=contacts_s, strengths=strengths)
    result = studio.model.generate(
        VideoClip(make_clip(long, studio.folder)), prompt=long.prompt, seed=SEED, output=Output(sample_rate_hz=RATE_HZ)
    )
    window, rate_hz = studio.model.sound_generator.window, float(studio.model.front_end.config.frame_rate_hz)
    borders = window_borders(window.starts(window.whole(len(result.requested_energy.values))), window.frames)
    take = result.takes[0]
    verdict = f"correlation {take.energy_correlation or 0:.2f}, {take.energy_mae_nats:.2f} nats error"
    marks_s = tuple(border / rate_hz for border in borders)
    return [
        Row(
            f"{LONG_CLIP_S} s in one request",
            take.stems["primary"].waveform[0],
            result.requested_energy,
            verdict,
            (),
            marks_s,
        )
    ]


def cuts(studio: Studio) -> list[Row]:
    shots = [render_video(clip.scene(), frame_rate=FRAME_RATE, width=WIDTH, height=HEIGHT) for clip in DRAWN_CLIPS]
    encode(np.concatenate(shots), studio.folder / "film.mp4", FRAME_RATE)
    clip = VideoClip(studio.folder / "film.mp4")
    found = find_cuts(clip)
    rows = []
    for label, times in (("one continuous sound", ()), ("--cuts new-sound: a new sound at each cut", found)):
        result = studio.model.generate(
            clip, prompt=studio.prompt, seed=SEED, output=Output(sample_rate_hz=RATE_HZ, cuts=times)
        )
        marks_s = tuple(float(cut) for cut in found)
        rows.append(Row(label, result.takes[0].stems["primary"].waveform[0], result.requested_energy, "", (), marks_s))
    return rows


FIGURES: dict[str, Callable[[Studio], list[Row]]] = {each.__name__: each for each in (
    sources, edits, events, onsets, strength, silence, texture, layers, negative, loop, again, takes, length, cuts,
)}  # fmt: skip


def draw(front_end: AudioFrontEnd, rows: Sequence[Row], path: Path) -> None:
    """Write the plot with few colours, so that the file is small."""
    figure = Figure(figsize=(9, 1.28 * len(rows) + 0.45), dpi=85, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axis, row in zip(axes, rows, strict=True):
        draw_row(front_end, axis, row)
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    axes[-1].set_xlabel("seconds", fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a plot with few colours."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    image = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


def draw_row(front_end: AudioFrontEnd, axis: Axes, row: Row) -> None:
    """Draw one spectrogram with the energies over it."""
    config = front_end.config
    log_mel = front_end.encode(row.waveform).numpy()
    length_s = len(log_mel) / float(config.frame_rate_hz)
    shades = np.floor((np.clip(log_mel, -9, LOUDEST_NATS) + 9) / (9 + LOUDEST_NATS) * SHADES)
    axis.imshow(
        shades.T, origin="lower", aspect="auto", cmap="Greys", interpolation="nearest", extent=(0, length_s, 0, 1),
        vmin=0, vmax=1.25 * SHADES,
    )  # fmt: skip
    axis.set_yticks([])
    axis.tick_params(labelsize=7)
    over = axis.twinx()
    if row.requested is not None:
        over.plot(row.requested.times_s(), row.requested.values, color=BLUE, lw=1.7)
        produced = log_mel.mean(axis=1)
        over.plot((np.arange(len(produced)) + 0.5) / float(config.frame_rate_hz), produced, color=ORANGE, lw=1.2)
    over.set_ylim(SILENCE_NATS - 0.4, LOUDEST_NATS)
    over.tick_params(labelsize=7)
    over.set_ylabel("nats" if row.requested is not None else "", fontsize=7)
    over.set_yticks([-10, -5, 0] if row.requested is not None else [])
    for event in row.events:
        over.annotate(
            str(event.number), (event.time_s, event.peak_nats), (0, 2), textcoords="offset points", fontsize=8
        )
    for mark_s in row.marks_s:
        axis.axvline(mark_s, color=INK, lw=0.9, ls=":")
    axis.set_xlim(*(row.zoom_s or (0, length_s)))
    axis.set_title(row.label, loc="left", fontsize=8.5, color=INK, pad=3)
    axis.set_title(row.verdict, loc="right", fontsize=7.5, color=INK, pad=3)


def _csv(studio: Studio) -> Path:
    return studio.folder / "curve.csv"


def _spectral_change_at(studio: Studio, waveform: NDArray[np.float32], sample: int) -> float:
    """Return the change of the spectrum from the 20 ms before a sample to those after, relative to the median."""
    log_mel = studio.model.front_end.encode(waveform).numpy()
    steps = np.abs(log_mel[2:] - log_mel[:-2]).mean(axis=1)
    place = sample // studio.model.front_end.config.hop_samples - 1
    return float(steps[place - 2 : place + 3].max() / np.median(steps))


def main() -> None:
    names = sys.argv[1:] or list(FIGURES)
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder))
        for name in names:
            rows = FIGURES[name](studio)
            draw(studio.model.front_end, rows, FOLDER / f"controls-{name}.png")
            print(name, (FOLDER / f"controls-{name}.png").stat().st_size >> 10, "KiB", flush=True)
            for row in rows:
                agreement = ""
                if row.requested is not None:
                    produced = studio.model.front_end.measure_energy(row.waveform)
                    count = min(len(produced.values), len(row.requested.values))
                    mae_nats, match = energy_agreement(row.requested.values[:count], produced.values[:count])
                    agreement = f"{mae_nats:.2f} nats, {match or 0:.2f}"
                print(f"  {row.label} | {row.verdict} | {agreement}", flush=True)


if __name__ == "__main__":
    main()
