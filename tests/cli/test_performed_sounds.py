"""Sounds of a library on the command line: generated, batched and on a server, with credits beside the stems."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from rewas_command import CommandResult, Rewas, running_server

RATE_HZ = 48_000
CREDIT = {"hammer.wav": ("CC-BY-4.0", "H. Smith"), "rain.wav": ("CC0-1.0", "the field team")}
STEADY = ("--energy", "flat:-5", "--seed", "7")


def write_recording(path: Path, seed: int, is_steady: bool) -> None:
    rng = np.random.default_rng(seed)
    sound = 0.1 * rng.standard_normal(4 * RATE_HZ)
    if not is_steady:
        sound *= np.exp(-(np.arange(sound.size) % RATE_HZ) / (0.05 * RATE_HZ))
        sound = np.concatenate([np.zeros(RATE_HZ // 4), sound])
    soundfile.write(path, sound, RATE_HZ, subtype="PCM_24")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    write_recording(folder / "hammer.wav", 1, is_steady=False)
    write_recording(folder / "rain.wav", 2, is_steady=True)
    (folder / "captions.csv").write_text(
        "file,description,licence,credit\nhammer.wav,hammer on wood,CC-BY-4.0,H. Smith\nrain.wav,heavy rain,,\n",
        "utf-8",
    )
    return folder


def make_library(rewas: Rewas, installed: Path, sounds: Path) -> None:
    result = rewas(
        "packs", "library", sounds, "-o", installed / "foley", "--licence", "CC0-1.0", "--credit", "the field team",
        REWAS_PACKS=str(installed),
    )  # fmt: skip
    assert result.code == 0, result.errors


@pytest.fixture(scope="module")
def installed(packs: Path, rewas: Rewas, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny starter and the library foley."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(packs / "starter", folder / "starter")
    make_library(rewas, folder, sounds)
    return folder


@pytest.fixture(scope="module")
def library_server(installed: Path, media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(installed, tmp_path_factory.mktemp("server"), media) as address:
        yield address


def read_credits(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def names(recordings: list[dict[str, Any]]) -> list[str]:
    return [recording["name"] for recording in recordings]


@pytest.mark.slow
def test_a_performed_sound_names_its_recordings_here_and_on_a_server(
    rewas: Rewas, installed: Path, library_server: str, media: Path, tmp_path: Path
) -> None:
    arguments = (
        "generate", media / "ball.mp4", "--prompt", "heavy rain", "--pack", "foley", "--ambience", "wind",
        "--layer-pack", "ambience=starter", "--layer", "hits=hammer on wood", "--mix", "--steps", "1", *STEADY,
        "--json",
    )  # fmt: skip
    results = [
        rewas(*arguments, "-o", tmp_path / "here", REWAS_PACKS=str(installed)),
        rewas(*arguments, "-o", tmp_path / "there", "--server", library_server),
    ]
    tables = []
    for result in results:
        assert result.code == 0, result.errors
        report = result.json()
        (take,) = report["takes"]
        assert report["pack"]["name"] == "foley"
        assert report["settings"]["performance"]["place"] == 0
        assert names(take["recordings"]) == ["rain.wav"]
        assert take["recordings"][0]["licence"] == "CC0-1.0"
        assert (take["layers"]["ambience"]["pack"]["name"], take["layers"]["ambience"]["recordings"]) == ("starter", [])
        assert names(take["layers"]["hits"]["recordings"]) == ["hammer.wav"]
        rows = read_credits(Path(report["credits"]))
        stems = {role: Path(stem["path"]) for role, stem in take["stems"].items()}
        assert [(row["Stem"], row["Recording"]) for row in rows] == sorted(
            [
                (stems["primary"].name, "rain.wav"), (stems["hits"].name, "hammer.wav"),
                (stems["mix"].name, "rain.wav"), (stems["mix"].name, "hammer.wav"),
            ]
        )  # fmt: skip
        assert {row["Recording"]: (row["Licence"], row["Credit"]) for row in rows} == CREDIT
        assert b"credit=H. Smith" in stems["hits"].read_bytes()
        assert b"compositeCapture" in stems["hits"].read_bytes()
        assert b"trainedAlgorithmicMedia" in stems["ambience"].read_bytes()
        assert b"compositeWithTrainedAlgorithmicMedia" in stems["mix"].read_bytes()
        tables.append(rows)
    assert tables[0] == tables[1]
    assert sorted(path.suffix for path in (tmp_path / "here").iterdir()) == [".csv", *[".wav"] * 4]


@pytest.mark.slow
def test_other_recordings_are_next_in_the_list(rewas: Rewas, installed: Path, media: Path, tmp_path: Path) -> None:
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "ball bounce", "--steps", "1", *STEADY, "--layer", "a=wind",
        "--layer-recording", "a=1", "-o", tmp_path / "other",
    )  # fmt: skip
    assert result.code == 0, result.errors
    assert "it does not use the performance settings of the layer a." in result.output
    assert not (tmp_path / "other" / "credits.csv").exists()
    for place, name, terms in ((0, "rain.wav", "CC0-1.0, the field team"), (1, "hammer.wav", "CC-BY-4.0, H. Smith")):
        result = rewas(
            "generate", media / "ball.mp4", "--prompt", "heavy rain", "--pack", "foley", *STEADY, "--recording", place,
            "--tail", "natural", "-o", tmp_path / "stems", REWAS_PACKS=str(installed),
        )  # fmt: skip
        assert result.code == 0, result.errors
        assert f"recording: {name} ({terms})" in result.output
        assert f"credits: {tmp_path / 'stems' / 'credits.csv'}" in result.output
    assert sorted(row["Recording"] for row in read_credits(tmp_path / "stems" / "credits.csv")) == [
        "hammer.wav", "rain.wav"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recording", "-1"], "--recording of the clip"),
        (["--tail", "long"], "--tail of the clip"),
        (["--room", "loud"], "--room of the clip"),
        (["--pitch-variation", "1201"], "--pitch-variation of the clip"),
        (["--timing-variation", "nan"], "--timing-variation of the clip"),
        (["--layer", "a=b", "--layer-recording", "a=-1"], "--layer-recording is “-1”"),
        (["--layer-pack", "a=starter"], "--layer-pack names a layer 'a'"),
        (["--layer", "a=b", "--layer-pack", "a=x", "--layer-pack", "a=y"], "more than one pack"),
    ],
)
def test_invalid_options_are_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = bare_rewas("generate", media / "ball.mp4", "--prompt", "rain", "-o", tmp_path / "out", *options, "--json")
    assert result.code == 2
    assert message in result.json()["error"]["what"]


def write_timeline(path: Path, media: Path) -> None:
    def span(start: int, length: int) -> otio.opentime.TimeRange:
        return otio.opentime.TimeRange(otio.opentime.RationalTime(start, 24), otio.opentime.RationalTime(length, 24))

    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    for number, (name, settings) in enumerate(
        {
            "rain": {"prompt": "heavy rain", "pack": "foley"},
            "wind": {"prompt": "wind", "pack": "starter", "num_inference_steps": 1, "performance": {"place": 3}},
            "both": {
                "prompt": "wind", "pack": "starter", "num_inference_steps": 1,
                "layers": [{"name": "ambience", "prompt": "heavy rain", "pack": "foley"}],
            },
        }.items()
    ):  # fmt: skip
        clip = otio.schema.Clip(name, otio.schema.ExternalReference(str(media)), span(12 * number, 12))
        clip.metadata["rewas"] = settings
        track.append(clip)
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(path))


@pytest.mark.slow
def test_a_batch_makes_only_the_sounds_of_a_changed_library_again(
    rewas: Rewas, packs: Path, sounds: Path, media: Path, tmp_path: Path
) -> None:
    installed, own_sounds, stems = tmp_path / "packs", tmp_path / "sounds", tmp_path / "stems"
    shutil.copytree(packs / "starter", installed / "starter")
    shutil.copytree(sounds, own_sounds)
    make_library(rewas, installed, own_sounds)
    write_timeline(tmp_path / "reel.otio", media / "ball.mp4")
    (tmp_path / "ours.toml").write_text("schema = 1\n[reports]\ncue_sheet = true\ncsv = true\nhtml = true\n")

    def batch(*options: object) -> CommandResult:
        return rewas(
            "batch", tmp_path / "reel.otio", "-o", tmp_path / "out.otio", "--stems", stems, "--json",
            "--profile", tmp_path / "ours.toml", *options, REWAS_PACKS=str(installed),
        )  # fmt: skip

    def origins(result: CommandResult) -> dict[str, str]:
        assert result.code == 0, result.errors
        return {clip["clip"]["name"]: clip["origin"] for clip in result.json()["clips"]}

    first = batch()
    assert origins(first) == dict.fromkeys(("rain", "wind", "both"), "generated")
    rain, _, both = first.json()["clips"]
    assert names(rain["takes"][0]["recordings"]) == ["rain.wav"]
    assert both["takes"][0]["layers"]["ambience"]["pack"]["name"] == "foley"
    credited = {row["Stem"] for row in read_credits(stems / "credits.csv")}
    assert credited == {
        Path(rain["takes"][0]["stems"]["primary"]["path"]).name,
        Path(both["takes"][0]["stems"]["ambience"]["path"]).name,
    }
    (cue_sheet,) = stems.glob("*cue sheet.csv")
    cues = {row["File"]: (row["Recordings"], row["Credits"]) for row in read_credits(cue_sheet)}
    assert {name: cue for name, cue in cues.items() if name in credited} == dict.fromkeys(
        credited, ("rain.wav", "the field team")
    )
    (page,) = stems.glob("*report.html")
    assert "rain.wav" in page.read_text("utf-8")
    clips = otio.adapters.read_from_file(str(tmp_path / "out.otio")).find_clips()
    used = [clip.metadata["rewas"].get("recordings") for clip in clips if "role" in clip.metadata.get("rewas", {})]
    assert [[each["credit"] for each in recordings] for recordings in used if recordings] == [["the field team"]] * 2
    assert "Nothing has changed" in batch().errors

    write_recording(own_sounds / "storm.wav", 3, is_steady=True)
    make_library(rewas, installed, own_sounds)
    assert origins(batch()) == {"rain": "generated", "wind": "kept", "both": "generated"}
    assert origins(batch("--recording", "1")) == {"rain": "generated", "wind": "kept", "both": "kept"}
    assert origins(batch("--steps", "2")) == {"rain": "kept", "wind": "kept", "both": "kept"}
    assert origins(batch("--recording", "0")) == {"rain": "kept", "wind": "kept", "both": "kept"}
