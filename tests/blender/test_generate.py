"""From a strip to its sound, with a real server process, real gRPC and the operators of the installed extension."""

import hashlib
import statistics
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from conftest import ADDON, add_movie, part, set_rate, strips_of

HAS_SOUND = bpy.app.version >= (4, 3)
# Blender itself loads each stem's sound file, which takes time, and the machine may be busy.
PUMP_LIMIT_S = 0.5
PUMP_MEDIAN_LIMIT_S = 0.005


@pytest.fixture
def served_scene(scene: Any, server_address: str) -> Any:
    bpy.context.preferences.addons[ADDON].preferences.server_address = server_address
    scene.rewas.use_own_sampling = True
    scene.rewas.num_inference_steps = 2
    scene.rewas.use_random_seed = False
    scene.rewas.seed = 7
    return scene


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
    scene.rewas.num_inference_steps = 20  # enough for some stages to be seen
    first = add_movie(scene, ball, start=11)
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
def test_only_media_next_to_everything_of_the_user_is_uploaded(
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
    served_scene.rewas.num_inference_steps = 1000
    for start in (1, 100):
        add_movie(served_scene, ball, start=start)
    bpy.ops.rewas.generate()
    pump_until(lambda: any(line.stage == "sample" for line in lines()))
    assert bpy.ops.rewas.cancel() == {"FINISHED"}
    assert [line.state for line in lines()] == ["cancelling"] * 2
    pump_until(lambda: not board().is_busy)
    assert [line.state for line in lines()] == ["cancelled"] * 2
    assert sounds_of(served_scene) == []
    for strip in strips_of(served_scene.sequence_editor):
        assert not [key for key in strip.keys() if key.startswith("rewas_job_")]  # noqa: SIM118
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


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_background_mode_waits_for_the_sound(served_scene: Any, make_clip: Any) -> None:
    set_rate(served_scene, 25, 1.0)
    strip = add_movie(served_scene, make_clip(Fraction(25), 25))
    served_scene.rewas.takes = 2
    bpy.ops.rewas.generate()
    assert bpy.ops.rewas.wait(timeout_s=150) == {"FINISHED"}
    first, second = sounds_of(served_scene)
    assert frames_of(first) == frames_of(second) == frames_of(strip)
    assert (first.mute, second.mute) == (False, True)
    # The better take comes first, and which one that is does not matter here.
    assert sorted(sound["rewas_sound"]["seed"] for sound in (first, second)) == ["7", "8"]


def test_disabling_the_extension_cancels_a_running_job(served_scene: Any, ball: Path, server_address: str) -> None:
    from rewas_api.client import RewasClient
    from rewas_api.errors import JobCancelled

    served_scene.rewas.num_inference_steps = 1000
    add_movie(served_scene, ball)
    bpy.ops.rewas.check_server()
    bpy.ops.rewas.generate()
    pump_until(lambda: any(line.stage == "sample" for line in lines()))
    (job_id,) = (line.job_id for line in lines())
    assert bpy.ops.preferences.addon_disable(module=ADDON) == {"FINISHED"}
    try:
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("rewas-")]
        with RewasClient(server_address) as client, pytest.raises(JobCancelled):
            client.wait(job_id)
    finally:
        bpy.ops.preferences.addon_enable(module=ADDON)
