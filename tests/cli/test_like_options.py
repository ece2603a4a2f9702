"""Reference sounds on the command line: in this process, on a server, in a batch, and files that cannot be used."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from rewas_command import Rewas

RATE_HZ = 16_000
QUICK = ("--prompt", "rain", "--energy", "flat", "--steps", 1, "--seed", 7, "--json")


def write_sound(path: Path, seed: int = 0, seconds: float = 1.0, level: float = 0.3) -> Path:
    """Noise without its high frequencies."""
    noise = np.random.default_rng(seed).normal(size=int(seconds * RATE_HZ))
    sound = np.convolve(noise, np.ones(16) / 16, "same") * level
    soundfile.write(path, np.clip(sound, -1, 1), RATE_HZ, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--like", "missing.wav"], "The reference sound missing.wav does not exist"),
        (["--like", "{sound}", "--texture", "flat"], "A texture and a reference sound both decide"),
        (["--layer-like", "crowd={sound}"], "--layer-like names a layer 'crowd'"),
        (["--ambience", "wind", "--layer-like", "ambience"], "--layer-like is “ambience”"),
        (["--ambience", "wind", "--layer-like", "ambience=gone.wav"], "The reference sound gone.wav does not exist"),
        (
            ["--ambience", "wind", "--layer-like", "ambience={sound}", "--layer-like", "ambience={sound}"],
            "more than one reference sound",
        ),
    ],
)
def test_invalid_options_are_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    sound = write_sound(tmp_path / "sound.wav")
    given = [option.format(sound=sound) for option in options]
    result = bare_rewas("generate", media / "ball.mp4", *QUICK, *given, "-o", tmp_path / "out", cwd=tmp_path)
    assert result.code == 2, result.errors
    error = result.json()["error"]
    assert message in error["what"], error
    assert error["remedy"]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_sound_comes_close_to_its_reference_here_and_on_a_server(
    rewas: Rewas, server: str, media: Path, tmp_path: Path
) -> None:
    reference = write_sound(tmp_path / "my rain.wav")
    plain = rewas("generate", media / "ball.mp4", *QUICK, "-o", tmp_path / "plain")
    arguments = ("generate", media / "ball.mp4", *QUICK, "--like", "my rain.wav", "--ambience", "wind",
                 "--layer-like", "ambience=my rain.wav")  # fmt: skip
    here = rewas(*arguments, "-o", tmp_path / "here", cwd=tmp_path)
    there = rewas(*arguments, "-o", tmp_path / "there", "--server", server, cwd=tmp_path)
    assert here.code == there.code == plain.code == 0, here.errors + there.errors
    takes = [result.json()["takes"][0] for result in (plain, here, there)]
    assert takes[0]["reference_distance_db"] is None
    assert takes[1]["reference_distance_db"] == pytest.approx(takes[2]["reference_distance_db"])
    for role in ("primary", "ambience"):
        sounds = [soundfile.read(take["stems"][role]["path"])[0] for take in takes[1:]]
        assert np.array_equal(*sounds)
    assert [note["kind"] for note in here.json()["notes"]].count("reference") == 1
    files = [Path(take["stems"]["primary"]["path"]) for take in takes]
    assert [ixml_reference(path) for path in files] == [None, "my rain.wav", "my rain.wav"]
    assert reference.name.encode() in files[1].read_bytes()
    lines = rewas(*arguments[:-1], "ambience=my rain.wav", "-o", tmp_path / "lines", cwd=tmp_path).output
    assert "reference_distance_db" in lines


def ixml_reference(path: Path) -> str | None:
    content = path.read_bytes()
    begin, end = content.index(b"<BWFXML>"), content.index(b"</BWFXML>") + len(b"</BWFXML>")
    return ET.fromstring(content[begin:end]).findtext("REWAS/LIKE")


@pytest.mark.slow
@pytest.mark.parametrize("on_server", [False, True])
def test_a_reference_that_cannot_be_used_names_file_and_clip(
    rewas: Rewas, server: str, media: Path, tmp_path: Path, on_server: bool
) -> None:
    silent = write_sound(tmp_path / "silent.wav", level=0)
    where = ("--server", server) if on_server else ()
    result = rewas("generate", media / "ball.mp4", *QUICK, "--like", silent, *where, "-o", tmp_path / "out")
    assert result.code != 0
    error = result.json()["error"]
    assert "The reference sound silent.wav is silent." in error["what"]
    assert "ball.mp4" in error["what"]
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


@pytest.mark.slow
@pytest.mark.parametrize("on_server", [False, True])
def test_a_batch_finds_references_beside_its_timeline(
    rewas: Rewas, server: str, media: Path, tmp_path: Path, on_server: bool
) -> None:
    (tmp_path / "sounds").mkdir()
    write_sound(tmp_path / "sounds" / "rain.wav")
    default = write_sound(tmp_path / "default.wav", seed=1)
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    time = otio.opentime.RationalTime
    likes = ("sounds/rain.wav", None, "sounds/gone.wav")
    for number, like in enumerate(likes):
        held = {"prompt": f"rain {number}"} | ({"like": like} if like else {})
        span = otio.opentime.TimeRange(time(12 * number, 24), time(12, 24))
        reference = otio.schema.ExternalReference(str(media / "ball.mp4"))
        track.append(otio.schema.Clip(f"shot {number}", reference, span, {"rewas": held}))
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(tmp_path / "reel.otio"))
    where = ("--server", server) if on_server else ()
    result = rewas(
        "batch", tmp_path / "reel.otio", "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--steps", 1,
        "--like", default, "--json", *where,
    )  # fmt: skip
    assert result.code == 1, result.errors
    clips = result.json()["clips"]
    assert [clip["problem"] is None for clip in clips] == [True, True, False]
    assert "gone.wav does not exist" in clips[2]["problem"]["what"]
    written = otio.adapters.read_from_file(str(tmp_path / "out.otio"))
    stems = [clip for clip in written.find_clips() if clip.metadata.get("rewas", {}).get("role") == "primary"]
    assert [stem.metadata["rewas"]["like"] for stem in stems] == ["rain.wav", "default.wav"]
