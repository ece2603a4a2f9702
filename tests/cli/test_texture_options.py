"""Texture and layer energies on the command line: their sources, edits and files, and invalid values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rewas_command import CommandResult, Rewas

from rewas_cli.commands.energy_options import Origin
from rewas_cli.commands.layer_options import LayerOptions
from rewas_cli.commands.texture_options import TextureOptions
from rewas_engine import SettingsError


def assert_refused(result: CommandResult, message: str) -> None:
    assert result.code == 2, result.errors
    error = result.json()["error"]
    assert message in error["what"], error
    assert error["remedy"]
    assert "Traceback" not in result.errors


# Without a model


def test_a_tilt_is_edited_written_and_read(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    written, plot = tmp_path / "texture.csv", tmp_path / "texture.png"
    result = bare_rewas(
        "texture", media / "ball.mp4", "--from", "tilt:-3", "--edit", "Fade in 0.5", "--edit", "brighter 1",
        "-o", written, "--plot", plot, "--json",
    )  # fmt: skip
    assert result.code == 0, result.errors
    report = result.json()
    assert report["edits"] == ["fade in 0.5", "tilt 1"]
    assert report["bands"] == ["low", "low_mid", "high_mid", "high"]
    assert (report["source"], report["clip"]["name"]) == ("user", "ball.mp4")
    assert report["tilt"][0] == pytest.approx(0.97, abs=0.05)
    assert report["tilt"][-1] == pytest.approx(-2, abs=1e-4)
    assert np.shape(report["values"]) == np.shape(report["unedited"]) == (len(report["tilt"]), 4)
    assert plot.read_bytes().startswith(b"\x89PNG")
    again = bare_rewas("texture", media / "ball.mp4", "--from", written, "--json").json()
    np.testing.assert_allclose(again["values"], report["values"], atol=0.02)
    shown = bare_rewas("texture", media / "ball.mp4", "--from", "flat").output
    assert "high_mid: +0.00 nats" in shown
    assert "given by you" in shown


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv is empty"),
        ("time_s,energy\n0,-5\n2,-5\n", "begins with"),
        ("time_s,tilt\n0,1\n1,nan\n2,0\n", "Point 2 of t.csv"),
        ("time_s,tilt\n0,1\n1,inf\n2,0\n", "Point 2 of t.csv"),
        ("time_s,tilt\n2,1\n0,1\n", "Point 2 of t.csv"),
        ("time_s,tilt\n0,1\n1,1\n", "t.csv is too short"),
        ("time_s,tilt\n0,1\n9,1\n", "t.csv extends to 9 s"),
        ("time_s,tilt\n0,1\n2,99\n", "Point 2 of t.csv has a band"),
    ],
)
def test_invalid_texture_files_are_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    for command in (
        ["texture", "--from"],
        ["generate", "--prompt", "rain", "--energy", "flat", "-o", tmp_path / "out", "--texture"],
    ):
        assert_refused(bare_rewas(command[0], media / "ball.mp4", *command[1:], path, "--json"), message)
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--texture", "smell"], "no texture source “smell”"),
        (["--texture", "video"], "no texture source “video”"),
        (["--texture", "tilt:much"], "“tilt:much” is not a number"),
        (["--texture", "tilt:nan"], "tilt is nan"),
        (["--texture", "tilt:99"], "tilt is 99"),
        (["--texture", "flat", "--texture-edit", "gate -8"], "“gate -8” is not understood"),
        (["--texture", "flat", "--texture-edit", "raise treble 1"], "“raise treble 1” is not understood"),
        (
            ["--texture", "flat", "--texture-edit", "tilt 20", "--texture-edit", "tilt 20"],
            "“tilt 20” would move a band",
        ),
        (["--texture-edit", "tilt 1"], "no texture to edit"),
        (["--ambience", "wind", "--layer-energy", "crowd=flat"], "names a layer 'crowd'"),
        (["--ambience", "wind", "--layer-energy", "ambience=smell"], "“smell”"),
        (["--ambience", "wind", "--layer-energy", "ambience"], "--layer-energy is “ambience”"),
        (["--ambience", "wind", "--layer-energy", "ambience=flat:9"], "louder than any sound"),
        (["--ambience", "wind", "--layer-energy", "ambience=flat", "--following", "ambience"], "more than one energy"),
        (["--layer-energy", "primary=flat"], "names a layer 'primary'"),
        (["--ambience", "wind", "--layer-edit", "crowd=scale 2"], "--layer-edit names a layer 'crowd'"),
        (["--ambience", "wind", "--layer-edit", "ambience=scale 2"], "but no --layer-energy sets one"),
        (["--ambience", "wind", "--layer-edit", "scale 2"], "--layer-edit is “scale 2”"),
        (
            ["--ambience", "wind", "--layer-energy", "ambience=flat", "--layer-edit", "ambience=wobble 3"],
            "“wobble 3” is not understood",
        ),
        (
            ["--ambience", "wind", "--layer-energy", "ambience=flat", "--layer-edit", "ambience=mute event 9"],
            "no event 9: the curve has no events",
        ),
    ],
)
def test_invalid_options_are_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = bare_rewas(
        "generate",
        media / "ball.mp4",
        "--prompt",
        "rain",
        "--energy",
        "flat",
        *options,
        "-o",
        tmp_path / "out",
        "--json",
    )
    assert_refused(result, message)
    assert not list(tmp_path.iterdir())


def test_texture_and_layer_options_are_parsed(tmp_path: Path) -> None:
    assert TextureOptions.from_options(None, None) is None
    tilt = TextureOptions.from_options("tilt:-2.5", ["darker 1"])
    assert tilt is not None
    assert (tilt.origin, tilt.tilt_nats, [str(edit) for edit in tilt.edits]) == (Origin.FLAT, -2.5, ["tilt -1"])
    (tmp_path / "b.CSV").touch()
    drawn = TextureOptions.from_options(str(tmp_path / "b.CSV"), None)
    assert drawn is not None
    assert drawn.origin is Origin.CURVE_FILE
    layers = LayerOptions.from_options("wind", ["crowd=people"], None, ["crowd"], ["ambience=flat:-7"])
    assert layers.energies["ambience"].level_nats == -7
    with pytest.raises(SettingsError, match="more than one energy"):
        LayerOptions.from_options("wind", None, None, None, ["ambience=flat:-7", "ambience=flat"])


# With the tiny model


@pytest.mark.slow
def test_a_pack_without_texture_refuses_it(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "rain", "--energy", "flat", "--texture", "flat",
        "-o", tmp_path / "out", "--json",
    )  # fmt: skip
    assert_refused(result, "does not support the control texture")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_texture_of_the_clips_audio(rewas: Rewas, media: Path) -> None:
    report = rewas("texture", media / "ball.mp4", "--start", 0.5, "--duration", 1, "--json").json()
    assert (report["source"], report["clip"]["start_s"], len(report["values"])) == ("audio", 0.5, 100)
    # The clicks have a frequency of 440 Hz.
    assert np.mean(report["values"], axis=0).argmax() == 0


@pytest.mark.slow
@pytest.mark.parametrize("on_server", [False, True])
def test_a_layer_follows_its_own_curve(rewas: Rewas, media: Path, tmp_path: Path, server: str, on_server: bool) -> None:
    drawn = tmp_path / "drawn.csv"
    drawn.write_text("time_s,energy\n0,-11.5\n1,-3\n2,-11.5\n")
    where = ("--server", server) if on_server else ()
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "rain", "--energy", "flat", "--ambience", "wind",
        "--layer", "crowd=people", "--layer-energy", f"crowd={drawn}", "--layer-edit", "crowd=offset 0.5",
        "--layer-edit", "crowd=fade out 0.5", "--steps", 1, "--seed", 7, *where, "-o", tmp_path / "out", "--json",
    )  # fmt: skip
    assert result.code == 0, result.errors
    layers = result.json()["takes"][0]["layers"]
    assert len(set(layers["ambience"]["energy_requested"])) == 1
    assert layers["crowd"]["energy_requested"][100] == pytest.approx(-2.5, abs=0.1)
    assert layers["crowd"]["energy_requested"][5] < -10
    for layer in layers.values():
        assert len(layer["energy_produced"]) == 201
