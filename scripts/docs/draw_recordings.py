"""Draw the plots of docs/recordings.md: what the index finds in recordings, and performances of recordings.

    python scripts/docs/draw_recordings.py

The recordings are sounds of the synthetic world, in files like those of a library.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rewas_engine import SILENCE_NATS, Control, EnergyCurve, Output, ReWaS, VideoClip, curve_from_points
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.library_pack import LibraryPack, LibraryTerms, make_library
from rewas_engine.world import SAMPLE_RATE_HZ, render_sound, sample_scene

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from draw_controls import FOLDER, INK, Row, draw, save
from make_demo_clips import DRAWN_CLIPS, make_clip

RATE_HZ = 48_000
SEED, WIND_SEED = 3, 4
ROUND_COLOURS = ("#1257b8", "#e0560a", "#2c8a4b")
STRETCH_COLOUR = "#2c8a4b"
STRIPES = 3000
SWELL = ((0.0, SILENCE_NATS), (0.4, -7.0), (2.2, -3.4), (3.0, -3.4), (3.6, -6.5), (4.0, -6.5))


@dataclass(frozen=True)
class Part:
    """Strikes of a class at times in seconds with strengths from 0 to 1."""

    class_name: str
    times_s: tuple[float, ...]
    strengths: tuple[float, ...]


RECORDINGS = {
    "knocks on wood.wav": [
        Part("wood_knock", (0.5, 1.7, 2.9, 4.1, 5.3, 6.5, 7.7), (0.5, 1.0, 0.6, 0.8, 0.45, 0.9, 0.7))
    ],
    "glass and door.wav": [
        Part("glass_clink", (0.6, 3.0, 5.4), (0.8, 1.0, 0.6)),
        Part("door", (1.8, 4.2, 6.6), (0.9, 0.7, 1.0)),
    ],
}
DURATION_S = 9.0


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack = make_pack(folder)
        draw_index(pack.index, FOLDER / "recordings-index.png")
        model = ReWaS.from_pretrained(pack.path, device="cpu")
        draw(model.front_end, performances(model, folder), FOLDER / "recordings-performance.png")
    for path in (FOLDER / "recordings-index.png", FOLDER / "recordings-performance.png"):
        print(path.name, path.stat().st_size >> 10, "KiB")


def make_pack(folder: Path) -> LibraryPack:
    """Write the recordings into a folder, and make a library of it as `rewas packs library` does."""
    source = folder / "recordings"
    source.mkdir()
    for name, parts in RECORDINGS.items():
        write(source / name, np.sum([render_strikes(part) for part in parts], axis=0))
    write(source / "wind in trees.wav", render_wind())
    encoder = SentenceEncoder.default()
    return make_library(
        [source], folder / "my-sounds", LibraryTerms("CC0-1.0"), lambda words: encoder(list(words)).numpy()
    ).pack


def write(path: Path, sound: NDArray[np.float32]) -> None:
    upsampled = 0.7 * soxr.resample(sound / np.abs(sound).max(), SAMPLE_RATE_HZ, RATE_HZ, quality="VHQ")
    soundfile.write(path, upsampled[:, None] * (1.0, 0.8), RATE_HZ, subtype="PCM_24")


def render_strikes(part: Part) -> NDArray[np.float32]:
    scene = sample_scene(SEED, part.class_name, DURATION_S, pattern="regular")
    times_s, strengths = np.array(part.times_s), np.array(part.strengths)
    return render_sound(
        replace(scene, event_times_s=times_s, event_strengths=strengths, floor=0.0, ambience=None, distance=0.1)
    )


def render_wind() -> NDArray[np.float32]:
    """Wind that rises, lasts and ends."""
    scene = sample_scene(WIND_SEED, "wind", DURATION_S, pattern="steady")
    times_s = np.linspace(0, DURATION_S, scene.envelope.size)
    envelope = np.interp(times_s, (0, 0.3, 1.5, 7.2, 8.7, 9), (0, 0, 1, 1, 0, 0))
    return render_sound(replace(scene, envelope=envelope, floor=0.0, ambience=None, distance=0.1))


def performances(model: ReWaS, folder: Path) -> list[Row]:
    """Perform the knocks along the energy of a clip, twice, and the wind along a curve."""
    demo = next(clip for clip in DRAWN_CLIPS if clip.file_name == "hammer.mp4")
    clip = VideoClip(make_clip(demo, folder))
    swell = curve_from_points([*SWELL, (float(demo.duration_s), SILENCE_NATS)], duration=demo.duration_s)
    return [
        perform(model, clip, "knocking on wood", 1, None, demo.contacts_s),
        perform(model, clip, "knocking on wood", 2, None, demo.contacts_s),
        perform(model, clip, "wind in the trees", 1, swell, ()),
    ]


def perform(
    model: ReWaS, clip: VideoClip, prompt: str, seed: int, energy: EnergyCurve | None, marks_s: tuple[float, ...]
) -> Row:
    result = model.generate(
        clip, prompt=prompt, seed=seed, control=Control(energy=energy), output=Output(sample_rate_hz=SAMPLE_RATE_HZ)
    )
    take = result.takes[0]
    names = ", ".join(used.name for used in take.recordings)
    source = "energy estimated from the video" if energy is None else "energy of a curve"
    verdict = f"correlation {take.energy_correlation or 0:.2f}, {take.energy_mae_nats:.2f} nats error"
    label = f"“{prompt}”, seed {seed}, {source}: plays {names}"
    # Without the gain to the standard level, so that the two energies can be compared.
    waveform = take.stems["primary"].waveform.mean(axis=0) / 10 ** (take.level_gain_db / 20)
    return Row(label, waveform.astype(np.float32), result.requested_energy, verdict, marks_s=marks_s)


def draw_index(index: LibraryIndex, path: Path) -> None:
    """Draw each recording with its events, coloured by round, and its stretches with their loop points."""
    figure = Figure(figsize=(9, 1.5 * len(index.recordings) + 0.3), dpi=85, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(index.recordings), 1, squeeze=False, sharex=True)[:, 0]
    for number, axis in enumerate(axes):
        draw_recording(index, number, axis)
    axes[-1].set_xlabel("seconds", fontsize=8)
    save(figure, path)


def draw_recording(index: LibraryIndex, number: int, axis: Axes) -> None:
    recording = index.recordings[number]
    rate_hz = recording.sample_rate_hz
    samples, _ = soundfile.read(recording.path, always_2d=True)
    mono = samples.mean(axis=1)
    stripes = mono[: mono.size - mono.size % (mono.size // STRIPES)].reshape(-1, mono.size // STRIPES)
    times_s = (np.arange(len(stripes)) + 0.5) * stripes.shape[1] / rate_hz
    axis.fill_between(times_s, stripes.min(axis=1), stripes.max(axis=1), color="#808a93", linewidth=0)
    reach = 1.4 * float(np.abs(mono).max())
    events, stretches = index.events_of(number), index.stretches_of(number)
    for count, event in enumerate(events, start=1):
        colour = ROUND_COLOURS[event.round % len(ROUND_COLOURS)]
        onset_s = event.onset_sample / rate_hz
        axis.axvspan(onset_s, event.end_sample / rate_hz, color=colour, alpha=0.16, linewidth=0)
        axis.axvline(onset_s, color=colour, linewidth=1.4)
        axis.text(onset_s + 0.03, reach, str(count), fontsize=8, color=colour, va="top")
    for stretch in stretches:
        begin_s, end_s = stretch.start_sample / rate_hz, stretch.end_sample / rate_hz
        axis.axvspan(begin_s, end_s, color=STRETCH_COLOUR, alpha=0.16, linewidth=0)
        axis.text(begin_s + 0.03, reach, "stretch", fontsize=8, color=STRETCH_COLOUR, va="top")
        for label, sample in (("loop start", stretch.loop_start_sample), ("loop end", stretch.loop_end_sample)):
            axis.axvline(sample / rate_hz, color=INK, linewidth=1.2, linestyle="--")
            axis.text(sample / rate_hz + 0.03, -reach, label, fontsize=8, color=INK, va="bottom")
    axis.set_ylim(-reach, reach)
    axis.set_xlim(0, mono.size / rate_hz)
    axis.set_yticks([])
    axis.tick_params(labelsize=7)
    axis.set_title(f"{recording.path.name}: “{recording.words}”", loc="left", fontsize=8.5, color=INK, pad=3)
    rounds = len({event.round for event in events})
    found = [
        f"{len(events)} events in {rounds} round{'s' if rounds > 1 else ''}" if events else "",
        f"{len(stretches)} stretch{'es' if len(stretches) > 1 else ''}" if stretches else "",
    ]
    axis.set_title(", ".join(filter(None, found)), loc="right", fontsize=7.5, color=INK, pad=3)


if __name__ == "__main__":
    main()
