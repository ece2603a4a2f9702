"""Invalid input ends with one clear sentence, a remedy and an exit code, and leaves no files."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import av
import opentimelineio as otio
import pytest
from rewas_command import CommandResult, Rewas, environment, write_clip

BAD_INPUT, FAILED_WORK = 2, 1


def assert_refused(result: CommandResult, *messages: str, code: int = BAD_INPUT) -> None:
    assert result.code == code, result.errors
    error = result.json()["error"]
    assert error["what"]
    assert error["remedy"]
    for message in messages:
        assert message in error["what"], error
    assert "Traceback" not in result.errors
    assert error["what"] in " ".join(result.errors.split())


def assert_only_files(folder: Path, *expected: str) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)


def test_help_imports_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from rewas_cli.main import run; code = run(['--help']); "
        "heavy = {'torch', 'grpc', 'opentimelineio', 'scipy', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy; sys.exit(code)"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path, tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert completed.returncode == 0, completed.stderr
    assert "generate" in completed.stdout


def test_a_missing_file_is_refused(bare_rewas: Rewas, tmp_path: Path) -> None:
    for arguments in (["generate", "--prompt", "rain"], ["energy"], ["conflict", "--prompt", "rain"]):
        result = bare_rewas(arguments[0], tmp_path / "gone.mp4", *arguments[1:], "--json", cwd=tmp_path)
        assert_refused(result, '"gone.mp4"', "does not exist")
    assert_only_files(tmp_path)


def test_a_folder_is_refused_as_a_clip(bare_rewas: Rewas, tmp_path: Path) -> None:
    assert_refused(bare_rewas("energy", tmp_path, "--json"), "is a folder")


def test_missing_and_unknown_options_are_refused(bare_rewas: Rewas, media: Path) -> None:
    assert_refused(bare_rewas("generate", media / "ball.mp4", "--json"), "--prompt")
    assert_refused(bare_rewas("generate", "--prompt", "rain", "--json"), "CLIP")
    assert_refused(bare_rewas("energy", media / "ball.mp4", "--loud", "--json"), "--loud")
    assert_refused(bare_rewas("energy", media / "ball.mp4", "--from", "smell", "--json"), "smell")
    assert_refused(bare_rewas("energy", media / "ball.mp4", "--start", "soon", "--json"), "'soon' is not a time")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--prompt", "", "empty prompt"),
        ("--prompt", "   ", "empty prompt"),
        ("--prompt", "a" * 10_000, "10000 characters"),
        ("--sample-rate", "0", "--sample-rate of the clip"),
        ("--sample-rate", "-48000", "--sample-rate of the clip"),
        ("--takes", "0", "takes"),
        ("--takes", "10000", "takes"),
        ("--negative-prompt", "a" * 10_000, "10000 characters"),
        ("--control-start", "1", "starts at 1 and ends at 1"),
        ("--control-end", "1.5", "--control-end of"),
        ("--steps", "0", "--steps of"),
        ("--guidance-scale", "nan", "--guidance-scale of"),
        ("--control-strength", "-1", "--control-strength of"),
        ("--control-strength", "2.5", "--control-strength of"),
        ("--control-strength", "nan", "--control-strength of"),
        ("--control", "texture", "--control of the clip"),
        ("--gain", "primary=99", "--gain of"),
        ("--negative-prompt", "x" * 2001, "2001 characters"),
        ("--seed", "-1", "seed"),
        ("--seed", str(2**63), "seed"),
        ("--duration", "0", "duration"),
        ("--pack", "nobody", "nobody"),
    ],
)
def test_settings_out_of_range_are_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, option: str, value: str, message: str
) -> None:
    prompt = [] if option == "--prompt" else ["--prompt", "rain"]
    result = bare_rewas("generate", media / "ball.mp4", *prompt, option, value, "-o", tmp_path / "out", "--json")
    assert_refused(result, message, *([] if option == "--pack" else ['"ball.mp4"']))
    assert_only_files(tmp_path)


def test_an_unreachable_server_is_reported(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = bare_rewas(
            "generate", media / "ball.mp4", "--prompt", "rain", "--server", address, "--json", cwd=tmp_path
        )
        assert_refused(result, address, code=FAILED_WORK)
    assert_only_files(tmp_path)
    assert_refused(bare_rewas("packs", "list", "--server", "nowhere", "--json"), "nowhere")


def test_an_output_folder_below_a_file_is_refused_before_the_work(
    bare_rewas: Rewas, media: Path, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("not a folder", "utf-8")
    taken = tmp_path / "file.txt" / "sounds"
    result = bare_rewas("generate", media / "ball.mp4", "--prompt", "rain", "-o", taken, "--json")
    assert_refused(result, "file.txt is a file, not a folder")
    assert (tmp_path / "file.txt").read_text("utf-8") == "not a folder"


def test_an_unwritable_plot_is_refused_before_the_work(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = bare_rewas("energy", media / "ball.mp4", "--plot", tmp_path / "energy.jpg", "--json")
    assert_refused(result, "not a PNG")
    assert_refused(
        bare_rewas("energy", media / "ball.mp4", "--plot", tmp_path / "no" / "e.png", "--json"), "does not exist"
    )


def test_without_matplotlib_a_plot_is_refused(media: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['matplotlib'] = None; from rewas_cli.main import run; "
        f"sys.exit(run(['energy', {str(media / 'ball.mp4')!r}, '--plot', 'e.png', '--json']))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path, tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert_refused(CommandResult(completed.returncode, completed.stdout, completed.stderr), "matplotlib")


def timeline_file(path: Path, media: str, prompt: object = "rain") -> Path:
    clip = otio.schema.Clip(
        name="shot 1",
        media_reference=otio.schema.ExternalReference(target_url=media),
        source_range=otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(24, 24)),
    )
    if prompt is not None:
        clip.metadata["rewas"] = {"prompt": prompt}
    timeline = otio.schema.Timeline(name="reel")
    timeline.tracks.append(otio.schema.Track(kind=otio.schema.TrackKind.Video, children=[clip]))
    otio.adapters.write_to_file(timeline, str(path))
    return path


@pytest.mark.parametrize(
    ("media", "prompt", "messages"),
    [
        ("gone.mov", "rain", ['"shot 1"', "gone.mov"]),
        ("http://example.org/a.mov", "rain", ["example.org"]),
        ("gone.mov", None, ["No clip", '"reel"']),
        ("gone.mov", "", ['"shot 1"', "empty prompt"]),
        ("gone.mov", 7, ['"shot 1"', "prompt"]),
        ("gone.mov", "a" * 10_000, ['"shot 1"', "10000 characters"]),
    ],
)
def test_unusable_timelines_are_refused(
    bare_rewas: Rewas, tmp_path: Path, media: str, prompt: object, messages: list[str]
) -> None:
    timeline = timeline_file(tmp_path / "reel.otio", media, prompt)
    result = bare_rewas("batch", timeline, "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--json")
    assert_refused(result, *messages)
    assert_only_files(tmp_path, "reel.otio")


@pytest.mark.parametrize(("value", "rate"), [(1e30, 24.0), (1.0, 1e308), (86_400.0, 0.0), (float("nan"), 24.0)])
def test_an_impossible_start_timecode_is_refused_before_the_work(
    bare_rewas: Rewas, media: Path, tmp_path: Path, value: float, rate: float
) -> None:
    path = timeline_file(tmp_path / "reel.otio", str(media / "ball.mp4"))
    timeline = otio.adapters.read_from_file(str(path))
    timeline.global_start_time = otio.opentime.RationalTime(value, rate)
    otio.adapters.write_to_file(timeline, str(path))
    result = bare_rewas("batch", path, "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--json")
    assert_refused(result, '"reel"', "start timecode")
    assert_only_files(tmp_path, "reel.otio")


def test_files_without_a_timeline_are_refused(bare_rewas: Rewas, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.otio"
    wrong.write_text("no timeline")
    unknown = tmp_path / "reel.docx"
    unknown.write_text("")
    clip = tmp_path / "clip.otio"
    otio.adapters.write_to_file(otio.schema.Clip(), str(clip))
    for path, message in (
        (wrong, "wrong.otio"),
        (unknown, "format"),
        (clip, "prompt"),
        (tmp_path / "gone.otio", "timeline file"),
    ):
        result = bare_rewas("batch", path, "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--json")
        assert_refused(result, message)
    good = timeline_file(tmp_path / "good.otio", "gone.mov")
    result = bare_rewas("batch", good, "-o", tmp_path / "out.docx", "--stems", tmp_path / "stems", "--json")
    assert_refused(result, "out.docx")
    result = bare_rewas("batch", good, "-o", tmp_path / "no" / "out.otio", "--stems", tmp_path / "stems", "--json")
    assert_refused(result, "does not exist")
    assert_only_files(tmp_path, "wrong.otio", "reel.docx", "clip.otio", "good.otio")


def test_media_without_video_is_refused(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "text.mp4").write_text("no video at all")
    (folder / "empty.mp4").touch()
    whole = (media / "ball.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(folder / "frameless.mp4"), "w") as container:
        container.add_stream("mpeg4", rate=24).width = 64
    for path in sorted(folder.iterdir()):
        result = rewas("generate", path, "--prompt", "rain", "-o", tmp_path / "out", "--json")
        assert_refused(result, path.name)
    assert_only_files(tmp_path, "media")


def test_a_range_outside_the_media_is_refused(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    for times in (["--start", "100"], ["--start", "100", "--duration", "1"], ["--duration", "100"]):
        result = rewas("generate", media / "ball.mp4", "--prompt", "rain", *times, "-o", tmp_path / "out", "--json")
        assert_refused(result, "ball.mp4")
    assert_only_files(tmp_path)


def test_energy_from_the_audio_of_a_silent_clip_is_refused(rewas: Rewas, tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.mp4", frames=24, sound=False)
    assert_refused(rewas("energy", silent, "--from", "audio", "--json"), "silent.mp4")


def test_unusable_packs_are_refused(rewas: Rewas, packs: Path, media: Path, tmp_path: Path) -> None:
    mine = tmp_path / "packs"
    shutil.copytree(packs / "starter", mine / "newer")
    description = (mine / "newer" / "pack.toml").read_text()
    (mine / "newer" / "pack.toml").write_text(description.replace("format = 1", "format = 99", 1))
    shutil.copytree(packs / "starter", mine / "damaged")
    weights = next((mine / "damaged").rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    shutil.copytree(packs / "starter", mine / "broken")
    (mine / "broken" / "pack.toml").write_text("not = [toml")
    for pack, message in (("newer", "format 99"), ("damaged", "damaged"), ("broken", "damaged")):
        result = rewas(
            "generate", media / "ball.mp4", "--prompt", "rain", "--pack", pack, "-o", tmp_path / "out", "--json",
            REWAS_PACKS=str(mine),
        )  # fmt: skip
        assert_refused(result, pack, message)
    assert_only_files(tmp_path, "packs")
    listed = {pack["name"]: pack for pack in rewas("packs", "list", "--json", REWAS_PACKS=str(mine)).json()["packs"]}
    assert listed["newer"]["problem"]["what"]
    assert listed["broken"]["problem"]["what"]
