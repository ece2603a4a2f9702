"""Text strips that become movie strips with sound, with a real server and a hardly trained model."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import ADDON, MAIN_PYTHON, ROOT, engine_environment, part, run_server, set_rate, shared_folder, strips_of
from test_generate import HAS_SOUND, pump_until
from test_libraries import draw, panel

needs_sound = pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")


@pytest.fixture(scope="session")
def video_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model for audible video."""
    model = shared_folder("video", tmp_path_factory) / "model"
    if not model.exists():
        # Two versions of Blender may get here at the same time.
        run = tmp_path_factory.mktemp("training")
        program = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        program += "from tiny_audible_video import train_tiny_model; train_tiny_model(Path(sys.argv[2]))"
        folder = ROOT / "tests" / "audible_video"
        subprocess.run([MAIN_PYTHON, "-c", program, folder, run], check=True, cwd=ROOT, env=engine_environment())
        try:
            (run / "model").rename(model)
        except OSError:
            assert model.exists()
    return model


@pytest.fixture(scope="session")
def video_server(
    installed: str, packs: Path, video_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    state, media = tmp_path_factory.mktemp("video state"), tmp_path_factory.getbasetemp()
    with run_server(packs, state, media, "--video-model", str(video_model)) as address:
        yield address


@pytest.fixture
def video_scene(scene: Any, video_server: str) -> Any:
    bpy.context.preferences.addons[ADDON].preferences.server_address = video_server
    scene.render.resolution_x, scene.render.resolution_y = 128, 96
    return scene


def add_text(scene: Any, text: str, *, channel: int = 3, start: int = 11, frames: int = 50) -> Any:
    strips = strips_of(scene.sequence_editor)
    span = {"length": frames} if bpy.app.version >= (5, 0) else {"frame_end": start + frames}
    strip = strips.new_effect(name="words", type="TEXT", channel=channel, frame_start=start, **span)
    strip.text = text
    strip.select = True
    scene.sequence_editor.active_strip = strip
    return strip


def made(scene: Any) -> dict[str, Any]:
    return {strip.type: strip for strip in strips_of(scene.sequence_editor) if strip.type != "TEXT"}


def wait_for_video() -> None:
    pump_until(lambda: not part("blender.questions").is_asking())


def problem(strip: Any) -> str:
    return str(part("blender.questions").problem_of("video", strip))


def edges(strip: Any) -> tuple[int, int]:
    compat = part("blender.compat")
    return compat.left_handle(strip), compat.right_handle(strip)


@needs_sound
@pytest.mark.parametrize("rate", [(24, 1.001), (60, 1.0)])
def test_a_text_strip_becomes_a_movie_with_its_sound(video_scene: Any, rate: tuple[int, float]) -> None:
    set_rate(video_scene, *rate)
    text = add_text(video_scene, "rain on\n the roof ")
    assert "Generate Video" in draw(panel("REWAS_PT_generate")).texts
    assert bpy.ops.rewas.generate_video() == {"FINISHED"}
    assert "Generating Video…" in draw(panel("REWAS_PT_generate")).texts
    with pytest.raises(RuntimeError, match="already generating"):
        bpy.ops.rewas.generate_video()
    wait_for_video()
    assert problem(text) == "None"
    movie, sound = made(video_scene)["MOVIE"], made(video_scene)["SOUND"]
    frames = round(Fraction(16, 25) * (Fraction(24000, 1001) if rate[0] == 24 else 60))
    assert edges(movie) == edges(sound) == (11, 11 + frames)
    compat = part("blender.compat")
    assert compat.content_end(movie) - compat.content_start(movie) == frames
    assert (movie.channel, text.channel, sound.channel) == (4, 3, 2)
    path = Path(bpy.path.abspath(movie.filepath))
    assert path.is_file()
    assert Path(bpy.path.abspath(sound.sound.filepath)) == path
    # It is a placeholder like any other shot: sound can be generated for it.
    assert movie.rewas.prompt == "rain on the roof"
    assert int(movie["rewas_video_seed"]) >= 0
    assert (movie.elements[0].orig_height, text.mute) == (96, True)
    assert video_scene.sequence_editor.active_strip == movie
    # Again: another seed, next to the first one.
    video_scene.sequence_editor.active_strip = text
    movie.select = sound.select = False
    text.select = True
    assert bpy.ops.rewas.generate_video() == {"FINISHED"}
    wait_for_video()
    movies = [strip for strip in strips_of(video_scene.sequence_editor) if strip.type == "MOVIE"]
    assert sorted(strip.channel for strip in movies) == [4, 5]
    assert len({strip.filepath for strip in movies}) == 2


@needs_sound
def test_each_selected_text_gets_its_video(video_scene: Any) -> None:
    first = add_text(video_scene, "rain", start=1)
    empty = add_text(video_scene, " \n", start=101)
    second = add_text(video_scene, "a hammer hits a nail", start=201)
    for strip in (first, empty, second):
        strip.select = True
    assert bpy.ops.rewas.generate_video() == {"FINISHED"}
    wait_for_video()
    movies = [strip for strip in strips_of(video_scene.sequence_editor) if strip.type == "MOVIE"]
    assert sorted((edges(strip)[0], strip.rewas.prompt) for strip in movies) == [
        (1, "rain"),
        (201, "a hammer hits a nail"),
    ]
    assert not empty.mute


def test_an_empty_text_is_refused(video_scene: Any) -> None:
    add_text(video_scene, "  ")
    with pytest.raises(RuntimeError, match="is empty"):
        bpy.ops.rewas.generate_video()


def test_no_text_strip_is_refused(video_scene: Any) -> None:
    with pytest.raises(RuntimeError, match="Select a text strip"):
        bpy.ops.rewas.generate_video()
    with pytest.raises(RuntimeError, match="not generating"):
        bpy.ops.rewas.cancel_video()


def test_a_video_can_be_cancelled_and_generated_again(video_scene: Any) -> None:
    text = add_text(video_scene, "rain")
    assert bpy.ops.rewas.generate_video() == {"FINISHED"}
    assert bpy.ops.rewas.cancel_video() == {"FINISHED"}
    assert not part("blender.questions").is_asking()
    assert not made(video_scene)
    assert problem(text) == "None"


def test_a_deleted_text_strip_leaves_the_timeline_alone(video_scene: Any) -> None:
    text = add_text(video_scene, "rain")
    assert bpy.ops.rewas.generate_video() == {"FINISHED"}
    strips_of(video_scene.sequence_editor).remove(text)
    wait_for_video()
    assert not made(video_scene)


def test_a_changed_frame_rate_is_reported(video_scene: Any) -> None:
    text = add_text(video_scene, "rain")
    assert bpy.ops.rewas.generate_video() == {"FINISHED"}
    set_rate(video_scene, 30, 1.0)
    wait_for_video()
    assert not made(video_scene)
    assert "frame rate of the scene" in problem(text)
    assert not text.mute


def test_a_server_without_a_model_is_reported(scene: Any, server_address: str) -> None:
    bpy.context.preferences.addons[ADDON].preferences.server_address = server_address
    text = add_text(scene, "rain")
    assert bpy.ops.rewas.generate_video() == {"FINISHED"}
    wait_for_video()
    assert "no model for audible video" in problem(text)
    assert "no model for audible video" in " ".join(draw(panel("REWAS_PT_generate")).texts)
