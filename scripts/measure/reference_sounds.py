"""Measure what reference sounds change: the tables of docs/controls.md, and the figures of docs/recordings.md.

    python scripts/measure/reference_sounds.py takes library --clips 40

`takes`: The prompts and energies are those of scenes of the synthetic world that are never used for training. Each
scene is generated without a reference, with a sound of its class as the reference, and with one of another class.

`library`: Whether the recordings that are nearest to a sound are of its class, in a library of all classes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import torch
from scipy.fft import dct

from rewas_engine import Control, EnergyCurve, ReferenceSound, ReWaS, Take, VideoClip
from rewas_engine.conditioning.controls import measure_log_mel_texture
from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.timbre import Timbre
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.texture import texture_error
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.paired_bootstrap import paired_difference
from rewas_engine.evaluation.splits import DEVELOPMENT_SEED, drop_ambience
from rewas_engine.generation.reference import distance_from_reference, spectrum_of
from rewas_engine.media.audio import write_wav
from rewas_engine.recordings.analysis import analyse
from rewas_engine.recordings.index import LibraryIndex, Recording
from rewas_engine.recordings.sound_distances import rank_by_sound, traits_of
from rewas_engine.requests.references import MeasuredReference
from rewas_engine.world import CLASS_NAMES, Scene, render_sound, sample_scene

FIRST_SEED, FIRST_REFERENCE_SEED = DEVELOPMENT_SEED + 8_000_000, DEVELOPMENT_SEED + 9_000_000
DURATION_S = 4.0
CEPSTRAL_COEFFICIENTS = 13
LIBRARY_RATE_HZ, FIRST_RECORDING_SEED, RECORDINGS_PER_CLASS, RECORDING_S = 16_000, DEVELOPMENT_SEED + 5_000_000, 3, 6.0
ROWS = ("Spectrum (dB)", "MFCC", "Texture (nats)", "Energy correlation", "Score of the words", "Right class")


@dataclass(frozen=True)
class Request:
    """A scene to generate, and a reference for it."""

    scene: Scene
    energy: EnergyCurve
    seed: int


def main() -> None:
    """Print the requested figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=("takes", "library"))
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--pack", default="starter")
    options = parser.parse_args()
    if "takes" in options.parts:
        print_takes(ReWaS.from_pretrained(options.pack, device="cpu"), options.clips)
    if "library" in options.parts:
        print_library()


def print_takes(model: ReWaS, clips: int) -> None:
    """Print the tables of takes without and with a reference."""
    judge = Judge.load()
    figures: dict[str, list[tuple[list[float], list[float]]]] = {"own class": [], "other class": []}
    with tempfile.TemporaryDirectory() as folder:
        clip_path = Path(folder) / "clip.mkv"
        write_grey_clip(clip_path)
        for number in range(clips):
            class_name = CLASS_NAMES[number % len(CLASS_NAMES)]
            scene = audible_scene(FIRST_SEED + number, class_name)
            sound = render_sound(scene).astype(np.float32)
            rate_hz = model.front_end.config.sample_rate_hz
            request = Request(scene, model.front_end.measure_energy(normalise(sound)), number)
            plain = generate(model, request, clip_path, None)
            other = CLASS_NAMES[(number + 1 + 7 * number % (len(CLASS_NAMES) - 1)) % len(CLASS_NAMES)]
            for kind, name in (("own class", class_name), ("other class", other)):
                path = Path(folder) / f"{kind}.wav"
                sample = render_sound(audible_scene(FIRST_REFERENCE_SEED + number, name)).astype(np.float32)
                write_wav(path, normalise(sample)[None], rate_hz)
                reference = ReferenceSound(path)
                wanted = MeasuredReference.read(reference, model.front_end).timbre
                like = generate(model, request, clip_path, reference)
                figures[kind].append(
                    (measure(model, judge, request, plain, wanted), measure(model, judge, request, like, wanted))
                )
            print(f"<!-- {number + 1} of {clips} -->", flush=True)
    for kind, pairs in figures.items():
        print(f"\nReference of the {kind}:\n")
        for line in table(pairs):
            print(line)


def print_library() -> None:
    """Print how often the nearest recordings of a library are of the class of a sound."""
    recordings, events, stretches, classes = [], [], [], []
    for place, class_name in enumerate(CLASS_NAMES):
        for variant in range(RECORDINGS_PER_CLASS):
            sound = library_sound(FIRST_RECORDING_SEED + 100 * place + variant, class_name)
            found, number = analyse([sound[:, None]], LIBRARY_RATE_HZ), len(recordings)
            path = Path(f"/library/{number}.wav")
            terms_and_levels = (class_name, None, None, found.noise_floor_db, found.peak_db, 0.0)
            recordings.append(Recording(path, 1, 1, "", LIBRARY_RATE_HZ, 1, sound.size, *terms_and_levels))
            events += [replace(event, recording=number) for event in found.events]
            stretches += [replace(stretch, recording=number) for stretch in found.stretches]
            classes.append(class_name)
    index = LibraryIndex(
        (Path("/library"),),
        tuple(recordings),
        tuple(events),
        tuple(stretches),
        np.zeros((len(recordings), 1), np.float16),
    )
    ranks = []
    for place, class_name in enumerate(CLASS_NAMES):
        for variant in range(2):
            sound = library_sound(FIRST_RECORDING_SEED + 1_000_000 + 100 * place + variant, class_name)
            traits = traits_of(sound, LIBRARY_RATE_HZ)
            assert traits is not None
            ranked = rank_by_sound(index, traits)
            ranks.append(next(rank for rank, number in enumerate(ranked) if classes[number] == class_name))
    shares = [float(np.mean(np.array(ranks) < count)) for count in (1, 3)]
    print(f"The nearest is of the right class: {shares[0]:.0%}. One of the three nearest is: {shares[1]:.0%}.")


def library_sound(seed: int, class_name: str) -> FloatArray:
    """The sound of a scene, with a peak of 0.5."""
    return normalise(render_sound(audible_scene(seed, class_name, RECORDING_S)).astype(np.float32))


def write_grey_clip(path: Path) -> None:
    """Write a video to generate sound for. Its picture does not matter, because the energy is given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        picture = np.full((64, 64, 3), 128, np.uint8)
        for _ in range(int(DURATION_S * 25)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def audible_scene(seed: int, class_name: str, duration_s: float = DURATION_S) -> Scene:
    """The first audible scene of a class from a seed on, without its ambience."""
    while True:
        scene = drop_ambience(sample_scene(seed, class_name, duration_s))
        if not scene.is_silent:
            return scene
        seed += 100_000


def generate(model: ReWaS, request: Request, clip: Path, reference: ReferenceSound | None) -> Take:
    """One take of a request."""
    control = Control(energy=request.energy, like=reference)
    result = model.generate(VideoClip(clip), prompt=request.scene.caption, seed=request.seed, control=control)
    return result.takes[0]


def measure(model: ReWaS, judge: Judge, request: Request, take: Take, wanted: Timbre) -> list[float]:
    """The figures of ROWS for a take."""
    waveform = take.stems["primary"].waveform[0]
    front_end = model.front_end
    spectrum = spectrum_of(waveform, front_end)
    distance_db = distance_from_reference(waveform, wanted, front_end)
    assert spectrum is not None
    assert distance_db is not None
    log_mel = front_end.encode(normalise(waveform))
    rate_hz = front_end.config.frame_rate_hz
    texture = measure_log_mel_texture(log_mel, rate_hz)
    energy = request.energy.resample(rate_hz, len(log_mel))
    requested = wanted.texture_for(EnergyCurve(energy, rate_hz))
    assert take.energy_correlation is not None
    return [
        distance_db,
        float(np.linalg.norm(cepstrum(spectrum) - cepstrum(wanted.spectrum))),
        texture_error(requested.values, texture.values, energy),
        take.energy_correlation,
        model.score_text_sound(request.scene.caption, waveform),
        float(judge.names(torch.as_tensor(log_mel)[None])[0] == request.scene.class_name),
    ]


def cepstrum(spectrum: FloatArray | np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients of a long-term spectrum, without the level."""
    return np.asarray(dct(spectrum, norm="ortho")[1 : CEPSTRAL_COEFFICIENTS + 1])


def table(pairs: list[tuple[list[float], list[float]]]) -> Iterator[str]:
    """The rows of a table: means without and with the reference, and the paired difference with its interval."""
    yield "| | Without | With | Difference, with 95 % confidence |"
    yield "|---|---|---|---|"
    for place, name in enumerate(ROWS):
        without, with_reference = ([each[place] for each in side] for side in zip(*pairs, strict=True))
        found = paired_difference(with_reference, without)
        means = f"{np.mean(without):.3f} | {np.mean(with_reference):.3f}"
        yield f"| {name} | {means} | {found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}) |"


if __name__ == "__main__":
    main()
