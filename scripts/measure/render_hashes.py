"""Render twelve fixed requests and print a SHA-256 of their samples, to verify that a change keeps them bit for bit.

    python scripts/measure/render_hashes.py MEDIA_FOLDER UNTRAINED_PACK --save before.json
    python scripts/measure/render_hashes.py MEDIA_FOLDER UNTRAINED_PACK --compare before.json

MEDIA_FOLDER holds the clips that are named in `render`. UNTRAINED_PACK is a folder that
`rewas_engine.recipes.untrained_make_an_audio` wrote. Hashes of different machines or versions of torch are not
comparable: take both sets on one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from rewas_engine import (
    Control,
    EnergyCurve,
    GenerationResult,
    Layer,
    Output,
    Regenerate,
    ReWaS,
    Sampling,
    Tilt,
    VideoClip,
    apply_edits,
    curve_from_points,
    flat_curve,
    flat_texture,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("untrained_pack", type=Path)
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the hashes to a JSON file")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="compare them with a JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    expected = json.loads(options.compare.read_text()) if options.compare else {}
    hashes: dict[str, str] = {}
    for name, result in render(options.media, options.untrained_pack):
        hashes[name] = hash_samples(result)
        verdict = "" if not expected else "  same" if hashes[name] == expected.get(name) else "  DIFFERENT"
        print(f"{hashes[name]}  {name}{verdict}", flush=True)
    if options.save:
        options.save.write_text(json.dumps(hashes, indent=1))
    if expected and hashes != expected:
        sys.exit(1)


def hash_samples(result: GenerationResult) -> str:
    """SHA-256 of the samples of all stems of all takes, with their roles, rates and shapes."""
    digest = hashlib.sha256()
    for take in result.takes:
        for role, stem in sorted(take.stems.items()):
            digest.update(f"{role} {stem.sample_rate_hz} {stem.waveform.shape}".encode())
            digest.update(stem.waveform.astype("<f4").tobytes())
    return digest.hexdigest()


def render(media: Path, untrained_pack: Path) -> Iterator[tuple[str, GenerationResult]]:
    """The requests, by name: every kind of control, output and layer once, and two families of packs."""
    model = ReWaS.from_pretrained("starter", device="cpu")
    drum = VideoClip(media / "drum.mp4", start=0, duration=4)
    first = model.generate(drum, prompt="a snare drum", seed=0)
    take = first.takes[0].stems["primary"]
    yield "01 picture energy", first
    yield (
        "02 48 kHz two takes",
        model.generate(
            VideoClip(media / "gun.mp4", start="0.5", duration=3),
            prompt="a gunshot",
            seed=7,
            takes=2,
            output=Output(sample_rate_hz=48000),
        ),
    )
    yield (
        "03 long, points",
        model.generate(
            VideoClip(media / "3qesirWAGt4_20000_30000.mp4", duration="9.5"),
            prompt="footsteps on gravel",
            control=Control(energy=two_swells(9.5)),
            seed=3,
        ),
    )
    yield "04 onsets", model.generate(drum, prompt="knocking on wood", control=Control(kind="onsets"), seed=4)
    texture = apply_edits(flat_texture(duration=4), [Tilt(1.0)])
    yield (
        "05 texture",
        model.generate(drum, prompt="wind", control=Control(energy=flat_curve(duration=4), texture=texture), seed=5),
    )
    layers = (Layer("ambience", "rain", gain_db=-3.0), Layer("hum", "an engine", energy="following"))
    yield (
        "06 layers",
        model.generate(drum, prompt="a dog barking", layers=layers, output=Output(gain_db=2.0), seed=6),
    )
    yield (
        "07 regenerate a range",
        model.generate(drum, prompt="a bell", regenerate=Regenerate(take, 1, 2.5), seed=7),
    )
    yield (
        "08 regenerate at strength 0.5",
        model.generate(drum, prompt="a snare drum", regenerate=Regenerate(take, strength=0.5), seed=8),
    )
    yield "09 loop", model.generate(drum, prompt="heavy rain", output=Output(loop=True), seed=9)
    yield (
        "10 cuts",
        model.generate(
            VideoClip(media / "chopping.mp4", duration=6),
            prompt="hammer on wood",
            output=Output(cuts=(2, "4.1")),
            seed=10,
        ),
    )
    yield (
        "11 negative, ddim, control part, soften",
        model.generate(
            VideoClip(media / "hitting_bag.mp4", duration=2),
            prompt="an engine",
            sampling=Sampling(num_inference_steps=12, guidance_scale=2.5, negative_prompt="hiss", sampler="ddim"),
            control=Control(strength=1.2, start=0.1, end=0.8),
            conflict="soften",
            seed=11,
        ),
    )
    yield (
        "12 second family, untrained",
        ReWaS.from_pretrained(untrained_pack, device="cpu").generate(
            VideoClip(media / "drum.mp4", duration=2),
            prompt="a drum",
            control=Control(energy=two_swells(2.0)),
            sampling=Sampling(num_inference_steps=4),
            seed=12,
        ),
    )


def two_swells(duration_s: float) -> EnergyCurve:
    """An energy that rises and falls twice."""
    points = [(0, -9), (duration_s / 4, -3), (duration_s / 2, -8), (duration_s * 3 / 4, -2.5), (duration_s, -9)]
    return curve_from_points(points, duration=duration_s)


if __name__ == "__main__":
    main()
