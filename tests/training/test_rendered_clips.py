"""`rewas train world --rendered`: clips rendered by a real Blender, its cache, and a renderer that fails."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import soundfile
from typer.testing import CliRunner

import rewas_cli
from rewas_cli.commands.train import train
from rewas_cli.main import run
from rewas_engine.errors import Cancelled, CheckpointError, EngineError, SettingsError
from rewas_engine.training.clip_pictures import ClipPictures
from rewas_engine.training.corpus import world_front_end
from rewas_engine.training.rendered_export import RenderedClips, render_staged
from rewas_engine.training.stage_renderer import RendererCommand, RendererError, StageRenderer
from rewas_engine.world import render_sound
from rewas_engine.world.stage.description import describe_stage
from rewas_engine.world.stage.staged_scene import sample_staged_scene
from rewas_server.blender_program import blender_command, blender_environment

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(rewas_cli.__file__).parents[1] / "rewas_stage" / "render_process.py"
VERSION = "4.5"
OPTIONS = ["--fps", "2", "--size", "32x16", "--workers", "1", "--json"]


def python_of_blender() -> Path:
    python = ROOT / f".venv-blender-{VERSION}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"Blender {VERSION} is not set up here; `make test` does it")
    return python


@pytest.fixture(scope="module")
def blender(tmp_path_factory: pytest.TempPathFactory) -> RendererCommand:
    profile = tmp_path_factory.mktemp("profile")
    command = blender_command(python_of_blender(), SCRIPT)
    return RendererCommand(tuple(command), dict(blender_environment(profile)), profile / "cache")


def clips_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("clip_*.json"))


@pytest.mark.slow
def test_the_command_renders_continues_and_caches(tmp_path: Path) -> None:
    folder, cache = tmp_path / "clips", tmp_path / "cache"
    command = ["world", "-o", str(folder), "--rendered", "--frame-cache", str(cache), "--first-seed", "4", *OPTIONS]
    result = CliRunner().invoke(train, [*command, "--clips", "2", "--blender", str(python_of_blender())])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["made"] == 2
    for index, path in enumerate(clips_in(folder)):
        staged = sample_staged_scene(4 + index, frame_rate=Fraction(2), size=(32, 16))
        description = json.loads(path.read_text("utf-8"))
        assert (description["look"], description["class"]) == ("rendered", staged.scene.class_name)
        assert len(description["envelope"]) == staged.scene.envelope.size
        sound, rate_hz = soundfile.read(path.with_suffix(".wav"), dtype="float32")
        assert rate_hz == 16_000
        assert np.array_equal(sound, render_sound(staged.scene))
        with av.open(str(path.with_suffix(".mp4"))) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 10
        assert frames[0].shape == (16, 32, 3)
        assert np.std(frames) > 4

    # A missing clip is finished from the cached frames, without Blender.
    clips_in(folder)[1].unlink()
    result = CliRunner().invoke(train, [*command, "--clips", "2", "--blender", "/bin/false"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["made"] == 1

    # Training reads them.
    pictures = ClipPictures(folder, motionless=True)
    pictures.write(1)
    assert pictures.videos(world_front_end()).frames.shape[1:] == (128, 64, 64)

    # Clips of the drawn world do not mix with them.
    assert run(["train", "world", "-o", str(folder), "--clips", "1"]) == 2


@pytest.mark.slow
def test_a_flash_is_in_the_frame_of_its_shot(blender: RendererCommand) -> None:
    rate = Fraction(10)
    staged = next(
        staged
        for staged in (
            sample_staged_scene(seed, "gunshot", 1.2, pattern="single", frame_rate=rate, size=(32, 32))
            for seed in range(200)
        )
        # A strong gunshot after a while, early in its frame, in a single shot of a camera at rest.
        if not staged.scene.off_screen
        and 0.3 < staged.scene.event_times_s[0] < 1.0
        and 0.2 < float(staged.scene.event_times_s[0] * rate) % 1 < 0.4
        and staged.scene.event_strengths[0] > 0.6
        and len(staged.shots.shots) == staged.exposures == 1
        and staged.shots.shake_rad == 0
    )
    with StageRenderer(blender) as renderer:
        frames = render_staged(staged, renderer, "a shot").astype(np.float64)
    changes = np.abs(np.diff(frames.mean(axis=-1), axis=0)).mean(axis=(1, 2))
    assert changes.argmax() + 1 == int(staged.scene.event_times_s[0] * rate)


@pytest.mark.slow
def test_a_scene_that_cannot_be_rendered_is_named_and_the_next_one_is(blender: RendererCommand) -> None:
    staged = sample_staged_scene(0, "hammer", 0.3, frame_rate=Fraction(8), size=(16, 16))
    description = describe_stage(staged, 1)
    with StageRenderer(blender) as renderer:
        with pytest.raises(RendererError, match=r"cannot render clip 7 \(ValueError: the scene has format 0, not 1\)"):
            renderer.render({**description, "format": 0}, "clip 7")
        frames = renderer.render(description, "clip 8")
    assert frames.shape == (description["exposures"], description["height"], 16, 3)


@pytest.mark.slow
def test_a_cancelled_run_ends_blender_and_is_resumed(blender: RendererCommand, tmp_path: Path) -> None:
    scratch, cancel = tmp_path / "scratch", threading.Event()
    scratch.mkdir()
    renderer = replace(blender, scratch=scratch, cache=None)
    clips = RenderedClips(tmp_path / "clips", 20, Fraction(2), (16, 16), renderer)
    renderers: list[psutil.Process] = []

    def report(done: int, total: int) -> None:
        children = psutil.Process().children(recursive=True)
        renderers.extend(child for child in children if SCRIPT.name in " ".join(child.cmdline()))
        cancel.set()

    with pytest.raises(Cancelled):
        clips.write(12, 1, report, cancel)
    assert renderers
    assert not psutil.wait_procs(renderers, timeout=30)[1]
    written = len(clips_in(clips.folder))
    assert 1 <= written < 12
    assert not list(clips.folder.glob(".*"))
    assert clips.write(written + 1, 1) == 1


def test_cancelling_does_not_wait_for_a_scene(tmp_path: Path) -> None:
    code = "print('{\"blender\": \"9\"}', flush=True); input(); open('asked', 'w').close(); input(); input()"
    renderer = RendererCommand((sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {code}"), {})

    class AfterTheQuestion:
        def is_set(self) -> bool:
            return (tmp_path / "asked").exists()

    with pytest.raises(Cancelled):
        RenderedClips(tmp_path / "clips", 3, Fraction(2), (16, 16), renderer).write(2, 1, cancel=AfterTheQuestion())
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["world.json"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('out of luck')", "Blender ended while starting (out of luck)."),
        ("print('hello')", "Blender ended while starting (exit code 0)."),
        (
            'print(\'{"blender": "9"}\', flush=True); input(); raise SystemExit(3)',
            "Blender ended while rendering clip 3 (exit code 3).",
        ),
        (
            'print(\'{"blender": "9"}\', flush=True); input(); input(); input()',
            "Blender took more than 0.5 s while rendering clip 3, and was ended.",
        ),
    ],
)
def test_a_renderer_that_ends_is_explained(code: str, reason: str) -> None:
    command = RendererCommand((sys.executable, "-c", code), {}, time_limit_s=0.5 if "0.5 s" in reason else 60.0)
    with StageRenderer(command) as renderer, pytest.raises(RendererError) as raised:
        renderer.render({"exposures": 1}, "clip 3")
    assert raised.value.what == reason


def test_what_blender_prints_between_replies_is_ignored() -> None:
    code = 'print(\'Blender 9.0\\n[1]\\n{"blender": "9"}\', flush=True); input(); print(\'Fra:1\\n{"error": "no"}\')'
    with (
        StageRenderer(RendererCommand((sys.executable, "-c", code), {})) as renderer,
        pytest.raises(RendererError, match=r"cannot render clip 0 \(no\)"),
    ):
        renderer.render({"exposures": 1}, "clip 0")


@pytest.mark.parametrize(
    "error",
    [
        RendererError("It failed.", "Try again."),
        Cancelled(),
        CheckpointError(Path("/a/vae.ckpt"), "is empty", "a checkpoint", "Download it again.", "the VAE"),
    ],
)
def test_errors_of_workers_arrive_whole(error: EngineError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    command = RendererCommand((str(tmp_path / "blender"),), {})
    with StageRenderer(command) as renderer, pytest.raises(RendererError, match=r"blender does not start \(No such"):
        renderer.render({"exposures": 1}, "clip 0")


def test_missing_frames_are_explained() -> None:
    code = 'print(\'{"blender": "9"}\', flush=True); input(); print(\'{"frames": 1}\', flush=True); input()'
    with (
        StageRenderer(RendererCommand((sys.executable, "-c", code), {})) as renderer,
        pytest.raises(RendererError, match="The frames of clip 0 cannot be read"),
    ):
        renderer.render({"exposures": 1, "width": 4, "height": 4}, "clip 0")


def test_a_failing_renderer_ends_the_command_with_its_reason(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "blender"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'raise SystemExit(\"no licence\")'\n")
    program.chmod(0o755)
    command = ["train", "world", "-o", str(tmp_path / "out"), "--rendered", "--blender", str(program)]
    assert run([*command, "--clips", "1", *OPTIONS[:-1]]) == 1
    error = capfd.readouterr().err
    assert "Blender ended while starting (no licence). Check that this Blender starts" in error
    assert not clips_in(tmp_path / "out")


@pytest.mark.parametrize("option", ["--blender", "--frame-cache"])
def test_options_of_the_renderer_need_rendered_clips(
    option: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "world", "-o", str(tmp_path / "out"), "--clips", "1", option, str(tmp_path)]) == 2
    assert "Only rendered clips need it; add --rendered." in capfd.readouterr().err


def test_a_missing_blender_is_explained(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["train", "world", "-o", str(tmp_path / "out"), "--clips", "1", "--rendered", "--blender", "/no/blender"]
    assert run(command) != 0
    assert "The program /no/blender does not exist." in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong", [{"first_seed": -1}, {"frame_rate": Fraction(200)}, {"size": (33, 32)}, {"size": (8, 8)}]
)
def test_an_unsupported_format_is_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        RenderedClips(tmp_path, renderer=RendererCommand(("blender",), {}), **wrong)  # type: ignore[arg-type]


def test_a_series_needs_a_renderer(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No renderer is given"):
        RenderedClips(tmp_path)
