"""From a strip to its sound, with a real server process, real gRPC and the operators of the installed extension."""

import array
import hashlib
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import conftest
import pytest
from conftest import ADDON, part, set_rate, strips_of

HAS_SOUND = bpy.app.version >= (4, 3)
# Blender itself loads each stem's sound file, which takes time, and the machine may be busy.
PUMP_LIMIT_S = 0.5
PUMP_MEDIAN_LIMIT_S = 0.005


@pytest.fixture
def served_scene(scene: Any, server_address: str) -> Any:
    bpy.context.preferences.addons[ADDON].preferences.server_address = server_address
    return scene


def add_movie(scene: Any, path: Path, *, steps: int = 2, takes: int = 1, **more: Any) -> Any:
    strip = conftest.add_movie(scene, path, **more)
    settings = strip.rewas.settings
    settings.use_own_sampling, settings.num_inference_steps = True, steps
    settings.lock_seed, settings.seed, settings.takes = True, 7, takes
    return strip


def board() -> Any:
    return part("blender.shared_session").session().board


def is_reachable() -> bool:
    return board().server.problem is None and board().server.worker_ready


def lines() -> list[Any]:
    return list(board().jobs.values())


def pump_until(condition: Any, within_s: float = 150.0) -> list[float]:
    """Pump as the timer does, and return the duration of each call in seconds."""
    pump = part("blender.pump")
    deadline_s = time.monotonic() + within_s
    took_s = []
    while not condition():
        assert time.monotonic() < deadline_s, board()
        begin_s = time.perf_counter()
        pump.pump()
        took_s.append(time.perf_counter() - begin_s)
        threading.Event().wait(0.005)
    return took_s


def sounds_of(scene: Any) -> list[Any]:
    return sorted((strip for strip in strips_of(scene.sequence_editor) if strip.type == "SOUND"), key=lambda s: s.name)


def frames_of(strip: Any) -> tuple[int, int]:
    compat = part("blender.compat")
    return compat.left_handle(strip), compat.right_handle(strip)


def test_the_panel_shows_the_server_state(served_scene: Any, server_address: str) -> None:
    bpy.ops.rewas.check_server()
    # The panel may still show the answer of another test's server, and a busy server may answer late.
    pump_until(lambda: board().server is not None and board().server.address == server_address and is_reachable())
    assert "untrained" in [pack.name for pack in board().server.packs]


def test_the_licence_of_the_selected_pack_is_drawn(served_scene: Any, server_address: str) -> None:
    preferences = bpy.context.preferences.addons[ADDON].preferences
    bpy.ops.rewas.check_server()
    pump_until(lambda: board().server is not None and board().server.address == server_address and board().server.packs)

    class Layout:
        """Records the text of labels."""

        def __init__(self) -> None:
            self.labels: list[str] = []

        def label(self, text: str = "", **named: Any) -> None:
            self.labels.append(text)

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments, **named: self

    context = SimpleNamespace(
        scene=served_scene,
        sequencer_scene=served_scene,
        region=SimpleNamespace(width=2000),
        preferences=bpy.context.preferences,
    )
    settings = part("blender.preferences")
    for kind in (settings.RewasPreferences, part("blender.panels").REWAS_PT_generate):
        layout = Layout()
        kind.draw(SimpleNamespace(layout=layout), context)
        assert any(label.startswith("untrained: Apache-2.0. Free for any use") for label in layout.labels)
    preferences.pack = "nobody's"
    assert settings.pack_terms() == ""


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_sound_is_placed_exactly_under_its_clip(served_scene: Any, ball: Path, make_clip: Any) -> None:
    scene = served_scene
    first = add_movie(scene, ball, start=11, steps=20)  # enough for some stages to be seen
    part("blender.compat").set_handles(first, 16, 50)
    second = add_movie(scene, make_clip(Fraction(24000, 1001), 60), start=100, prompt="a hammer knocks")
    begin_s = time.perf_counter()
    assert bpy.ops.rewas.generate() == {"FINISHED"}
    assert time.perf_counter() - begin_s < PUMP_LIMIT_S
    stages: set[str] = set()
    took_s = pump_until(lambda: (stages.update(line.stage for line in lines()), not board().is_busy)[1])
    assert [(line.state, line.problem) for line in lines()] == [("done", None)] * 2
    assert "sample" in stages
    # A busy machine may pause once.
    assert sorted(took_s)[-2] < PUMP_LIMIT_S
    assert statistics.median(took_s) < PUMP_MEDIAN_LIMIT_S
    sounds = sounds_of(scene)
    assert [frames_of(sound) for sound in sounds] == [frames_of(first), frames_of(second)]
    assert not any(sound.mute for sound in sounds)
    channels = scene.sequence_editor.channels
    assert {channels[sound.channel].name for sound in sounds} == {"primary"}
    metadata = sounds[0]["rewas_sound"]
    assert (metadata["prompt"], metadata["seed"], metadata["pack"], metadata["take"]) == (
        "a ball bounces",
        "7",
        "untrained",
        1,
    )
    assert metadata["licence"] == "Apache-2.0"
    assert int(metadata["samples"]) == round(Fraction(34 * 1001, 24000) * metadata["sample_rate_hz"])
    for sound in sounds:
        assert Path(bpy.path.abspath(sound.sound.filepath)).is_file()


@pytest.mark.parametrize("in_home", [False, True])
def test_only_media_directly_in_the_home_folder_is_uploaded(
    served_scene: Any, ball: Path, server_address: str, monkeypatch: pytest.MonkeyPatch, in_home: bool
) -> None:
    """The folder of the media is announced to the server, unless it is the home folder."""
    from rewas_api.client import RewasClient

    with tempfile.TemporaryDirectory() as elsewhere:
        if in_home:
            monkeypatch.setenv("HOME", elsewhere)
        media = Path(elsewhere) / "elsewhere.mp4"
        media.write_bytes(ball.read_bytes() + bytes(in_home))
        add_movie(served_scene, media)
        bpy.ops.rewas.generate()
        pump_until(lambda: not board().is_busy)
        sha256 = hashlib.sha256(media.read_bytes()).hexdigest()
    (line,) = lines()
    assert line.state == "done"
    stems = list(part("blender.preferences").stems_folder().glob("*.wav"))
    assert len(stems) == 1
    assert (line.problem is None) == HAS_SOUND
    with RewasClient(server_address) as client:
        assert client.has_media(sha256) == in_home


def test_cancel_stops_every_job_and_places_nothing(served_scene: Any, ball: Path) -> None:
    for start in (1, 100):
        add_movie(served_scene, ball, start=start, steps=1000)
    bpy.ops.rewas.generate()
    pump_until(lambda: any(line.stage == "sample" for line in lines()))
    assert bpy.ops.rewas.cancel() == {"FINISHED"}
    assert [line.state for line in lines()] == ["cancelling"] * 2
    pump_until(lambda: not board().is_busy)
    assert [line.state for line in lines()] == ["cancelled"] * 2
    assert sounds_of(served_scene) == []
    for strip in strips_of(served_scene.sequence_editor):
        assert len(strip.rewas.takes) == 0
    assert not list(part("blender.preferences").stems_folder().glob("*"))


def test_refusals_by_the_server_are_reported_with_a_remedy(served_scene: Any, ball: Path) -> None:
    bpy.context.preferences.addons[ADDON].preferences.pack = "no-such-pack"
    add_movie(served_scene, ball)
    bpy.ops.rewas.generate()
    pump_until(lambda: not board().is_busy)
    (line,) = lines()
    assert line.state == "failed"
    assert "no-such-pack" in line.problem.what
    assert line.problem.remedy
    with pytest.raises(RuntimeError, match="no-such-pack"):
        bpy.ops.rewas.wait(timeout_s=1)
    # A script that goes on after the error must not get it again.
    assert bpy.ops.rewas.wait(timeout_s=1) == {"FINISHED"}


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_background_mode_waits_for_the_sound(served_scene: Any, make_clip: Any) -> None:
    set_rate(served_scene, 25, 1.0)
    strip = add_movie(served_scene, make_clip(Fraction(25), 25), takes=2)
    bpy.ops.rewas.generate()
    assert bpy.ops.rewas.wait(timeout_s=150) == {"FINISHED"}
    (sound,) = sounds_of(served_scene)
    assert frames_of(sound) == frames_of(strip)
    # The better take comes first, and which one that is does not matter here.
    assert sorted(take.seed for take in part("blender.take_list").read_takes(strip)) == [7, 8]


_CRASH = """
import os, sys, threading, bpy
addon, address, blend_file = sys.argv[1:]
bpy.ops.preferences.addon_enable(module=addon)
preferences = bpy.context.preferences.addons[addon].preferences
preferences.server_address = address
preferences.stems_folder = "//rewas-stems/"
bpy.ops.wm.open_mainfile(filepath=blend_file)
bpy.ops.rewas.generate()
pump = sys.modules[addon + ".blender.pump"]
session = sys.modules[addon + ".blender.shared_session"].session()
while not any(job.job_id for job in session.board.jobs.values()):
    pump.pump()
    threading.Event().wait(0.01)
print(next(job.job_id for job in session.board.jobs.values()), flush=True)
os._exit(9)
"""


@pytest.mark.slow
def test_sound_arrives_although_blender_has_crashed(
    served_scene: Any, ball: Path, server_address: str, tmp_path: Path
) -> None:
    film = tmp_path / "film.blend"
    add_movie(served_scene, ball)
    bpy.ops.wm.save_as_mainfile(filepath=str(film))
    command = [sys.executable, "-c", _CRASH, ADDON, server_address, str(film)]
    crashed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert crashed.returncode == 9, crashed.stderr
    bpy.context.preferences.addons[ADDON].preferences.stems_folder = "//rewas-stems/"
    bpy.ops.wm.open_mainfile(filepath=str(film))
    pump_until(lambda: bool(lines()) and not board().is_busy)
    (line,) = lines()
    assert line.job_id == crashed.stdout.splitlines()[-1]
    assert (line.state, line.problem is None) == ("done", HAS_SOUND)
    (strip,) = (strip for strip in strips_of(bpy.context.scene.sequence_editor) if strip.type == "MOVIE")
    (take,) = part("blender.take_list").read_takes(strip)
    assert take.stems[0].path.parent == tmp_path / "rewas-stems"
    assert [frames_of(sound) for sound in sounds_of(bpy.context.scene)] == [frames_of(strip)] * HAS_SOUND


def test_disabling_the_extension_loses_no_job(served_scene: Any, ball: Path, server_address: str) -> None:
    add_movie(served_scene, ball, steps=60)
    bpy.ops.rewas.check_server()
    bpy.ops.rewas.generate()
    pump_until(lambda: any(line.stage == "sample" for line in lines()))
    (job_id,) = (line.job_id for line in lines())
    assert bpy.ops.preferences.addon_disable(module=ADDON) == {"FINISHED"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rewas-")]
    assert bpy.ops.preferences.addon_enable(module=ADDON) == {"FINISHED"}
    preferences = bpy.context.preferences.addons[ADDON].preferences
    preferences.server_address = server_address
    pump_until(lambda: bool(lines()) and not board().is_busy)
    (line,) = lines()
    assert (line.job_id, line.state) == (job_id, "done")
    assert (line.problem is None) == HAS_SOUND


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_an_extended_strip_gets_only_the_sound_that_it_lacks(served_scene: Any, ball: Path) -> None:
    compat = part("blender.compat")
    strip = add_movie(served_scene, ball)
    strip.rewas.settings.ambience = "wind"
    compat.set_handles(strip, 17, 33)
    bpy.ops.rewas.generate()
    pump_until(lambda: not board().is_busy)
    before = part("blender.take_list").active_take(strip)
    assert bpy.ops.rewas.generate_missing_sound() == {"CANCELLED"}
    compat.set_handles(strip, 1, 49)
    part("blender.links").settle()
    ranges = part("blender.completion_operators").missing_sound(strip)
    assert [(part.start_frame, part.end_frame) for part in ranges] == [(0, 16), (32, 48)]
    for sound in sounds_of(served_scene):
        assert frames_of(sound) == (17, 33)
        sound.volume = 0.5
    assert bpy.ops.rewas.generate_missing_sound() == {"FINISHED"}
    pump_until(lambda: not board().is_busy)
    assert [line.problem for line in lines()] == [None] * 5
    after = part("blender.take_list").active_take(strip)
    assert (after.number, after.lead_in_frames, after.frames, after.roles) == (2, 0, 48, ("primary", "ambience"))
    assert part("blender.completion_operators").missing_sound(strip) == ()
    for sound in sounds_of(served_scene):
        assert (frames_of(sound), sound.volume) == ((1, 49), 0.5)
    begin = round(16 * 48048 / 24)
    crossfade = 48 * 25
    for old, new in zip(before.stems, after.stems, strict=True):
        kept, complete = read_samples(old.path), read_samples(new.path)
        assert len(complete) == 48 * 2002 * 3
        inside = slice((begin + crossfade) * 3, (begin + old.samples - crossfade) * 3)
        assert complete[inside] == kept[crossfade * 3 : (old.samples - crossfade) * 3]
        assert any(complete[: (begin - crossfade) * 3])
        assert any(complete[(begin + old.samples + crossfade) * 3 :])
    assert not list(part("blender.preferences").stems_folder().glob("*-fitted.wav"))


def read_samples(path: Path) -> bytes:
    """Return the samples of a 24-bit mono file as they are stored."""
    content = path.read_bytes()
    begin = content.index(b"data") + 8
    return content[begin : begin + int.from_bytes(content[begin - 4 : begin], "little")]


def write_tone(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        count = round(seconds * 48000)
        file.writeframes(array.array("h", (round(9000 * math.sin(index / 12)) for index in range(count))).tobytes())
    return path


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_a_range_is_regenerated_with_the_energy_of_a_shorter_sound(
    served_scene: Any, make_clip: Any, tmp_path: Path
) -> None:
    scene = served_scene
    set_rate(scene, 25, 1.0)
    strip = add_movie(scene, make_clip(Fraction(25), 25))
    bpy.ops.rewas.generate()
    bpy.ops.rewas.wait(timeout_s=150)
    settings = strip.rewas.settings
    settings.energy_source, settings.energy_sound = "OTHER_SOUND", str(write_tone(tmp_path / "voice.wav", 0.4))
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 11, 20
    bpy.ops.rewas.range_again()
    bpy.ops.rewas.wait(timeout_s=150)
    assert len(strip.rewas.takes) == 2
    whole, again = part("blender.take_list").read_takes(strip)
    assert strip.rewas.active_take_index == 1
    assert again.stems[0].samples == whole.stems[0].samples == 48000
    rate_hz, values = again.requested_energy.rate_hz, again.requested_energy.values
    inside, after = values[round(rate_hz * 2 / 10)], values[round(rate_hz * 9 / 10)]
    assert inside > after + 1  # silent after the end of the tone

    before, changed = (read_samples(take.stems[0].path) for take in (whole, again))
    assert before[: 3 * 12000] == changed[: 3 * 12000]
    assert before != changed


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_a_sound_is_generated_like_another_one(served_scene: Any, make_clip: Any, tmp_path: Path) -> None:
    strip = add_movie(served_scene, make_clip(Fraction(25), 25))
    tone = write_tone(tmp_path / "tone.wav", 0.5)
    strip.rewas.settings.sounds_like = str(tone)
    bpy.ops.rewas.generate()
    bpy.ops.rewas.wait(timeout_s=150)
    (line,) = lines()
    assert line.problem is None
    assert any("has only the spectrum of the reference sound" in note for note in line.sound_notes)
    (take,) = part("blender.take_list").read_takes(strip)
    assert take.settings["chosen"]["like"] == str(tone)
    assert b"like=tone.wav" in take.stems[0].path.read_bytes()
    tone.unlink()
    with pytest.raises(RuntimeError, match=r"should resemble .*tone\.wav, which is missing"):
        bpy.ops.rewas.generate()


def test_a_prompt_is_compared_with_the_picture(served_scene: Any, ball: Path) -> None:
    results = part("blender.check_results")
    strip = add_movie(served_scene, ball)
    assert results.read_check(strip) is None
    assert bpy.ops.rewas.check_prompt() == {"FINISHED"}
    questions = part("blender.questions")
    assert questions.is_asking("check", strip)
    pump_until(lambda: not questions.is_asking("check", strip))
    assert questions.problem_of("check", strip) is None
    check = results.read_check(strip)
    assert check.verdict in ("agree", "unsure", "conflict", "unsupported")
    assert check.explanation
    assert not check.is_outdated
    strip.rewas.prompt = "something else"
    assert results.read_check(strip).is_outdated


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_a_picture_that_blender_renders_gets_its_sound_even_after_closing_the_file(
    served_scene: Any, ball: Path, tmp_path: Path
) -> None:
    strip = add_movie(served_scene, ball, start=101)
    strip.use_reverse_frames = True
    part("blender.compat").set_handles(strip, 106, 130)
    file = str(tmp_path / "film.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    assert bpy.ops.rewas.generate() == {"FINISHED"}
    ((key, job),) = board().jobs.items()
    assert job.state == "preparing"
    # Blender is closed while it renders the picture.
    assert part("blender.picture_queue").close()
    part("blender.shared_session").close_session()
    bpy.ops.wm.open_mainfile(filepath=file)
    pump_until(lambda: key in board().jobs and board().jobs[key].is_finished)
    assert (board().jobs[key].state, board().jobs[key].problem) == ("done", None)
    (sound,) = sounds_of(bpy.context.scene)
    assert frames_of(sound) == (106, 130)
    record = part("blender.shared_session").session().book.get(key)
    assert record.clip.proxy.reason == "plays backwards"
    assert Path(record.clip.path).is_file()
    # The next take needs no rendering.
    for other in strips_of(bpy.context.scene.sequence_editor):
        other.select = other.type == "MOVIE"
    assert bpy.ops.rewas.generate() == {"FINISHED"}
    assert [line.state for line in lines()] == ["done", "sending"]
    pump_until(lambda: not board().is_busy)
    assert [line.state for line in lines()] == ["done", "done"]
