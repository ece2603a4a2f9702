"""Suggested words in the panel, from a real server: for one strip, for several, and where there are none."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import MAIN_PYTHON, add_movie, engine_environment, part
from test_generate import pump_until, served_scene
from test_libraries import draw, panel

__all__ = ["served_scene"]

_ADD_NOISE = """
import sys, wave, numpy as np
from fractions import Fraction
from rewas_engine.training.clip_series import encode_clip
frames = np.zeros((48, 64, 64, 3), np.uint8)
for number, frame in enumerate(frames):
    row = abs(number % 24 - 12) * 4
    frame[row : row + 12, 26:38] = 255
sound = np.random.default_rng(0).normal(0, 0.1, 32_032).astype(np.float32)
encode_clip(__import__("pathlib").Path(sys.argv[1]), frames, Fraction(24000, 1001), 23, sound)
"""


@pytest.fixture(scope="session")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ball with sound."""
    path = tmp_path_factory.mktemp("noisy") / "noisy.mp4"
    subprocess.run([MAIN_PYTHON, "-c", _ADD_NOISE, path], check=True, env=engine_environment())
    return path


def words(scene: Any, strip: Any) -> Any:
    return part("blender.word_suggestions").words_of(scene, strip)


def wait_for_words() -> None:
    pump_until(lambda: not part("blender.questions").is_asking())


def texts() -> list[str]:
    return draw(panel("REWAS_PT_generate")).texts


def test_a_suggestion_is_shown_with_its_score_and_becomes_the_prompt(served_scene: Any, noisy: Path) -> None:
    strip = add_movie(served_scene, noisy, prompt="a ball bounces")
    strip.rewas.settings.pack = "starter"
    assert "Suggest Words" in texts()
    assert bpy.ops.rewas.suggest_words() == {"FINISHED"}
    assert "Looking for Words…" in texts()
    with pytest.raises(RuntimeError, match="already looking for words"):
        bpy.ops.rewas.suggest_words()
    wait_for_words()
    found = words(served_scene, strip)
    assert found.picture.startswith("Perhaps in the picture")
    assert found.suggestions
    assert all(0 <= each.score <= 1 for each in found.suggestions)
    # Nothing is overwritten until one is chosen.
    assert strip.rewas.prompt == "a ball bounces"
    drawn = texts()
    for each in found.suggestions:
        assert each.prompt in drawn
        assert f"{each.score:.0%}" in drawn
    assert bpy.ops.rewas.use_prompt(prompt=found.suggestions[0].prompt) == {"FINISHED"}
    assert strip.rewas.prompt == found.suggestions[0].prompt
    assert part("blender.check_operators").REWAS_OT_use_prompt.bl_options >= {"REGISTER", "UNDO"}
    # They stay to choose another one, even after the strip has lost its identifier in an undo.
    strip.rewas.uid = ""
    assert words(served_scene, strip) == found
    assert bpy.ops.rewas.hide_words() == {"FINISHED"}
    assert words(served_scene, strip) is None


def test_each_selected_strip_gets_its_own_words(served_scene: Any, noisy: Path, ball: Path) -> None:
    first = add_movie(served_scene, noisy, channel=1, prompt="")
    second = add_movie(served_scene, ball, channel=3, start=101, prompt="kept")
    other = add_movie(served_scene, ball, channel=5, start=201, prompt="")
    other.select = False
    served_scene.sequence_editor.active_strip = second
    for strip in (first, second):
        strip.rewas.settings.pack = "starter"
    assert bpy.ops.rewas.suggest_words() == {"FINISHED"}
    wait_for_words()
    questions = part("blender.questions")
    assert [questions.problem_of("words", strip) for strip in (first, second)] == [None, None]
    assert words(served_scene, first).sound
    # The second clip has no sound.
    assert words(served_scene, second).sound == ""
    assert words(served_scene, second).notes == ("The clip has no sound.",)
    assert words(served_scene, other) is None
    assert (first.rewas.prompt, second.rewas.prompt) == ("", "kept")


def test_a_strip_without_media_is_refused_and_the_others_are_asked(
    served_scene: Any, noisy: Path, ball: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.mp4"
    gone.write_bytes(ball.read_bytes())
    lost = add_movie(served_scene, gone, channel=3, start=101)
    gone.unlink()
    with pytest.raises(RuntimeError, match=r"gone\.mp4"):
        bpy.ops.rewas.suggest_words()
    found = add_movie(served_scene, noisy, channel=1)
    found.rewas.settings.pack = "starter"
    assert bpy.ops.rewas.suggest_words() == {"FINISHED"}
    wait_for_words()
    assert words(served_scene, found) is not None
    assert words(served_scene, lost) is None
    assert part("blender.questions").problem_of("words", lost) is not None


def test_an_old_server_and_no_server_are_reported(
    served_scene: Any, noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = add_movie(served_scene, noisy)
    monkeypatch.setattr(part("core.description_question"), "MINOR_VERSION", 1000)
    assert bpy.ops.rewas.suggest_words() == {"FINISHED"}
    wait_for_words()
    assert "too old" in str(part("blender.questions").problem_of("words", strip))
    with pytest.raises(RuntimeError, match="too old"):
        bpy.ops.rewas.wait(timeout_s=10)
    assert words(served_scene, strip) is None


def test_a_question_can_be_withdrawn_and_asked_again(served_scene: Any, noisy: Path) -> None:
    strip = add_movie(served_scene, noisy, prompt="kept")
    strip.rewas.settings.pack = "starter"
    questions = part("blender.questions")
    with pytest.raises(RuntimeError, match="not looking for words"):
        bpy.ops.rewas.cancel_words()
    assert bpy.ops.rewas.suggest_words() == {"FINISHED"}
    assert bpy.ops.rewas.cancel_words() == {"FINISHED"}
    assert not questions.is_asking()
    assert bpy.ops.rewas.suggest_words() == {"FINISHED"}
    wait_for_words()
    assert questions.problem_of("words", strip) is None
    assert words(served_scene, strip) is not None
    assert strip.rewas.prompt == "kept"


def test_a_server_that_does_not_answer_is_reported(scene: Any, noisy: Path) -> None:
    strip = add_movie(scene, noisy)
    assert bpy.ops.rewas.suggest_words() == {"FINISHED"}
    wait_for_words()
    assert "127.0.0.1:9" in str(part("blender.questions").problem_of("words", strip))
    assert any("127.0.0.1:9" in text for text in draw(panel("REWAS_PT_generate")).texts)
