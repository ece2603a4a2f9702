"""Layers on the command line and in timeline metadata: stems, gains, and a mix that is their sum."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from rewas_command import Rewas

from rewas_cli.commands.layer_options import LayerOptions
from rewas_engine import SettingsError

ROW_PIXELS = 408
"""Height of a row of a plot."""
QUICK = ("--steps", "1", "--seed", "7")


@pytest.mark.slow
def test_layers_are_written_and_the_mix_is_their_sum(rewas: Rewas, server: str, media: Path, tmp_path: Path) -> None:
    arguments = (
        "generate", media / "ball.mp4", "--prompt", "ball bounce", "--ambience", "wind in trees",
        "--gain", "ambience=-12", "--layer", "crowd=people clapping", "--following", "crowd", "--mix", *QUICK, "--json",
    )  # fmt: skip
    plot = tmp_path / "plot.png"
    here, there = (
        rewas(*arguments, "-o", tmp_path / "here", "--plot", plot),
        rewas(*arguments, "-o", tmp_path / "there", "--server", server),
    )
    sums = []
    for result in (here, there):
        assert result.code == 0, result.errors
        (take,) = result.json()["takes"]
        assert list(take["stems"]) == ["primary", "ambience", "crowd", "mix"]
        sounds = {
            role: soundfile.read(stem["path"], dtype="int32")[0].astype(np.int64)
            for role, stem in take["stems"].items()
        }
        mix = sounds.pop("mix")
        assert np.array_equal(sum(sounds.values()), mix)
        assert set(take["layers"]) == {"ambience", "crowd"}
        assert len(set(take["layers"]["ambience"]["energy_requested"])) == 1
        assert len(set(take["layers"]["crowd"]["energy_requested"])) > 1
        sums.append(mix)
    assert np.array_equal(*sums)
    settings = here.json()["settings"]
    assert settings["mix"] is True
    text = rewas(*arguments[:-1], "-o", tmp_path / "people")
    assert text.output.count("nats off on average") == 3
    # The plot has a row for each sound, but none for the mix.
    assert matplotlib.image.imread(plot).shape[0] == 3 * ROW_PIXELS
    assert settings["layers"][0] == {"name": "ambience", "prompt": "wind in trees", "gain_db": -12.0}


@pytest.mark.slow
def test_clips_of_a_timeline_can_have_layers(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    reference = otio.schema.ExternalReference(target_url=str(media / "ball.mp4"))
    whole = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(24, 24))
    clip = otio.schema.Clip(name="shot", media_reference=reference, source_range=whole)
    layers = [{"name": "ambience", "prompt": "wind", "gain_db": -9}]
    clip.metadata["rewas"] = {"prompt": "ball bounce", "seed": 7, "num_inference_steps": 1, "layers": layers}
    track = otio.schema.Track(kind=otio.schema.TrackKind.Video, children=[clip])
    timeline = otio.schema.Timeline("film")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(tmp_path / "film.otio"))
    out = tmp_path / "out.otio"
    result = rewas("batch", tmp_path / "film.otio", "-o", out, "--stems", tmp_path / "stems", "--json")
    assert result.code == 0, result.errors
    written = otio.adapters.read_from_file(str(out))
    names = [track.name for track in written.audio_tracks()]
    assert names == ["ReWaS primary", "ReWaS ambience"]


def test_layer_options_are_parsed() -> None:
    choice = LayerOptions.from_options(
        "wind", ["crowd=people, clapping = loudly"], ["primary=-3", "crowd=2.5 dB"], ["crowd"]
    )
    assert choice.gain_db == -3
    assert choice.layers is not None
    ambience, crowd = choice.layers
    assert (ambience.name, ambience.prompt, ambience.gain_db, ambience.energy) == ("ambience", "wind", None, None)
    assert (crowd.prompt, crowd.gain_db, crowd.energy) == ("people, clapping = loudly", 2.5, "following")
    assert LayerOptions.from_options(None, None, None, None) == LayerOptions(None, None)


@pytest.mark.parametrize(
    ("layers", "gains", "following", "message"),
    [
        (["wind"], [], [], "--layer is “wind”"),
        ([], ["ambience=-3"], [], "names a layer 'ambience'"),
        ([], ["primary=loud"], [], "not a number"),
        ([], ["primary"], [], "--gain is “primary”"),
        (["wind=wind"], [], ["rain"], "names a layer 'rain'"),
    ],
)
def test_malformed_layer_options_are_refused(layers, gains, following, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        LayerOptions.from_options(None, layers, gains, following)
    assert message in raised.value.what


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "mix=rain"], "called 'mix'"),
        (["--layer", "a=rain", "--layer", "a=wind"], "Two layers"),
        (["--ambience", ""], "prompt of the layer ambience"),
        (["--gain", "primary=99"], "--gain of the clip"),
        (["--gain", "primary=nan"], "--gain of the clip"),
    ],
)
def test_invalid_layers_are_refused_by_clip_name(
    bare_rewas: Rewas, media: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = bare_rewas("generate", media / "ball.mp4", "--prompt", "rain", "-o", tmp_path / "out", *options, "--json")
    assert result.code == 2
    assert message in result.json()["error"]["what"]
    assert "ball.mp4" in result.json()["error"]["what"]
