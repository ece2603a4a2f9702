"""The extension: registering, prompts, every state of the panel, and error reports."""

import builtins
import threading
import time
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import ADDON, add_movie, part, strips_of


def rewas_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("rewas-")]


def pump_until(condition: Any, within_s: float = 30.0) -> float:
    """Pump as the timer would, and return the longest time that a single call took."""
    pump = part("blender.pump")
    deadline_s = time.monotonic() + within_s
    longest_s = 0.0
    while not condition():
        assert time.monotonic() < deadline_s, part("blender.shared_session").session().board
        begin_s = time.perf_counter()
        pump.pump()
        longest_s = max(longest_s, time.perf_counter() - begin_s)
        time.sleep(0.005)
    return longest_s


def board() -> Any:
    return part("blender.shared_session").session().board


def test_the_extension_can_be_disabled_and_enabled(extension_zip: Path, installed: str) -> None:
    assert bpy.ops.preferences.addon_disable(module=ADDON) == {"FINISHED"}
    assert not hasattr(bpy.types.Scene, "rewas")
    assert bpy.ops.preferences.addon_enable(module=ADDON) == {"FINISHED"}
    assert hasattr(bpy.types.Scene, "rewas")


def test_libraries_are_imported_from_the_wheels(installed: str) -> None:
    import google.protobuf
    import grpc

    import rewas_api

    profile = Path(bpy.utils.resource_path("USER"))
    for module in (grpc, google.protobuf, rewas_api):
        assert Path(module.__file__).is_relative_to(profile)


def test_the_default_address_is_that_of_the_server(installed: str) -> None:
    from rewas_api.client import DEFAULT_ADDRESS

    assert part("core.contract").DEFAULT_ADDRESS == DEFAULT_ADDRESS


def test_prompts_survive_saving_copying_and_undo(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball, prompt="a ball bounces on a wooden floor")
    path = tmp_path / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    scene = bpy.context.scene
    (strip,) = strips_of(scene.sequence_editor)
    assert strip.rewas.prompt == "a ball bounces on a wooden floor"
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    if hasattr(window.workspace, "sequencer_scene"):
        window.workspace.sequencer_scene = scene
    strip.select = True
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.sequencer.duplicate()
    assert [strip.rewas.prompt for strip in strips_of(scene.sequence_editor)] == [strip.rewas.prompt] * 2


def test_without_a_server_jobs_wait_and_can_be_cancelled(scene: Any, ball: Path, tmp_path: Path) -> None:
    for start in (1, 100, 200):
        add_movie(scene, ball, start=start)
    before = [(strip.name, strip.channel) for strip in strips_of(scene.sequence_editor)]
    assert bpy.ops.rewas.generate() == {"FINISHED"}
    pump_until(lambda: all(line.server_problem for line in board().jobs.values()))
    lines = list(board().jobs.values())
    assert [(line.state, line.status_text) for line in lines] == [("sending", "Waiting for the server")] * 3
    assert "127.0.0.1:9" in str(lines[0].server_problem)
    assert "rewas serve" in lines[0].server_problem.remedy
    with pytest.raises(RuntimeError, match="No ReWaS server answers"):
        bpy.ops.rewas.wait(timeout_s=0.1)
    assert bpy.ops.rewas.cancel() == {"FINISHED"}
    pump_until(lambda: not board().is_busy)
    assert [line.state for line in board().jobs.values()] == ["cancelled"] * 3
    assert [(strip.name, strip.channel) for strip in strips_of(scene.sequence_editor)] == before
    assert not (tmp_path / "stems").exists()


def test_one_bad_strip_is_reported_and_does_not_stop_the_others(scene: Any, ball: Path) -> None:
    bad = add_movie(scene, ball, prompt="", channel=2)
    add_movie(scene, ball, start=100)
    assert bpy.ops.rewas.generate() == {"FINISHED"}
    refused, started = board().jobs.values()
    assert refused.state == "failed"
    assert refused.clip_name == bad.name
    assert "has no prompt" in refused.problem.what
    assert (started.state, started.problem) == ("sending", None)
    pump_until(lambda: len(bpy.context.window_manager.rewas.jobs) == 2)
    bpy.context.window_manager.rewas.active_job_index = 1  # below the one that runs
    assert "has no prompt" in draw_panel("REWAS_PT_jobs")
    scene.sequence_editor.active_strip = bad
    assert "has no prompt" in draw_panel("REWAS_PT_generate")
    bad.rewas.prompt = "rain"
    assert bpy.ops.rewas.retry(key=refused.key) == {"FINISHED"}
    assert [line.state for line in board().jobs.values()] == ["sending"] * 2
    assert refused.key not in board().jobs


def test_a_script_gets_an_error_if_no_strip_can_have_sound(scene: Any, ball: Path) -> None:
    add_movie(scene, ball, prompt="")
    with pytest.raises(RuntimeError, match="has no prompt"):
        bpy.ops.rewas.generate()


def test_generate_needs_a_selected_strip(scene: Any, ball: Path) -> None:
    add_movie(scene, ball).select = False
    with pytest.raises(RuntimeError, match="Select the strips to generate sound for"):
        bpy.ops.rewas.generate()


def test_generate_needs_a_timeline(scene: Any) -> None:
    bpy.context.window.scene = bpy.data.scenes.new("Without strips")
    with pytest.raises(RuntimeError, match="Add a movie strip first"):
        bpy.ops.rewas.generate()


def test_remote_servers_need_online_access(scene: Any, ball: Path) -> None:
    bpy.context.preferences.addons[ADDON].preferences.server_address = "192.0.2.1:50071"
    assert not bpy.app.online_access
    bpy.ops.rewas.check_server()
    pump_until(lambda: board().server is not None)
    assert "Allow Online Access" in board().server.problem.remedy


def test_a_malformed_address_is_reported(scene: Any) -> None:
    bpy.context.preferences.addons[ADDON].preferences.server_address = "somewhere"
    bpy.ops.rewas.check_server()
    pump_until(lambda: board().server is not None)
    assert '"somewhere" is not a server address' in board().server.problem.what


def test_missing_wheels_are_reported_in_one_line(scene: Any, ball: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_grpc(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("rewas_api.client"):
            raise ImportError("No module named 'grpc'")
        return real_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_grpc)
    add_movie(scene, ball)
    bpy.ops.rewas.generate()
    pump_until(lambda: not board().is_busy)
    (line,) = board().jobs.values()
    assert "libraries of the ReWaS extension cannot be loaded (No module named 'grpc')" in line.problem.what


def test_the_prompt_is_copied_to_the_selected_movie_strips(scene: Any, ball: Path) -> None:
    first = add_movie(scene, ball, prompt="rain")
    second = add_movie(scene, ball, start=100, prompt="wind")
    second.rewas.settings.takes = 3
    assert bpy.ops.rewas.copy_settings(sets={"PROMPT"}) == {"FINISHED"}
    assert first.rewas.prompt == second.rewas.prompt == "wind"
    assert first.rewas.settings.takes == 1


class RecordingLayout:
    """Replaces the layout that Blender passes to draw() and records what is drawn."""

    def __init__(self, drawn: list[str]) -> None:
        object.__setattr__(self, "drawn", drawn)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.drawn.append(str(kwargs.get("text") or args[-1:]))
            return RecordingLayout(self.drawn)

        return call


def draw_panel(panel_name: str) -> str:
    panels = part("blender.panels")
    drawn: list[str] = []

    class Region:
        width = 300

    class Context:
        scene = bpy.context.scene
        window_manager = bpy.context.window_manager
        screen = None
        workspace = bpy.context.window_manager.windows[0].workspace
        preferences = bpy.context.preferences
        region = Region()

    class Panel:
        layout = RecordingLayout(drawn)

    getattr(panels, panel_name).draw(Panel(), Context())
    return " ".join(drawn)


def test_the_panel_describes_every_state(scene: Any, ball: Path) -> None:
    messages, session = part("core.messages"), part("blender.shared_session").session()
    assert "Connecting to the server" in draw_panel("REWAS_PT_generate")
    problem = messages.Problem("No server answers.", "Start one with `rewas serve`.")
    states = {
        "No server answers": messages.ServerState("a", problem),
        "is loading": messages.ServerState("a", None, version="0.1.0"),
        "Server 0.1.0 on cpu": messages.ServerState("a", None, version="0.1.0", device="cpu", worker_ready=True),
    }
    for text, state in states.items():
        session._messages.put(state)
        pump_until(lambda text=text: text in draw_panel("REWAS_PT_generate"))
    assert "Select a picture strip" in draw_panel("REWAS_PT_generate")
    add_movie(scene, ball)
    assert ball.name in draw_panel("REWAS_PT_generate")
    assert "prompt" in draw_panel("REWAS_PT_generate")
    assert "num_inference_steps" not in draw_panel("REWAS_PT_settings")
    bpy.context.scene.sequence_editor.active_strip.rewas.settings.use_own_sampling = True
    assert "num_inference_steps" in draw_panel("REWAS_PT_settings")
    line = part("core.board").JobStatus("k", "ball.mp4", state="running", stage="sample", step=3, total_steps=25)
    session.board = session.board.with_job(line)
    pump_until(lambda: len(bpy.context.window_manager.rewas.jobs) == 1)
    assert "Cancel All" in draw_panel("REWAS_PT_jobs")


def test_every_setting_and_operator_has_a_tooltip(scene: Any) -> None:
    strip_type = part("blender.compat").STRIP_TYPE
    groups = [strip_type.bl_rna.properties["rewas"].fixed_type, bpy.types.Scene.bl_rna.properties["rewas"].fixed_type]
    groups.append(part("blender.preferences").RewasPreferences.bl_rna)
    for group in groups:
        for setting in group.properties:
            if setting.identifier not in ("rna_type", "name", "bl_idname"):
                assert len(setting.description) > 20, setting.identifier
    for name in dir(bpy.ops.rewas):
        description = getattr(bpy.ops.rewas, name).get_rna_type().description
        assert description, name
        assert "\n" not in description, name
        # Blender shows the docstring of an operator only if it has no other description.
        kind = vars(getattr(bpy.types, f"REWAS_OT_{name}"))
        assert not (kind.get("__doc__") and "bl_description" in kind), name


def test_an_error_while_pumping_does_not_stop_the_timer(
    scene: Any, ball: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pump = part("blender.pump")

    def fail(message: Any) -> None:
        raise RuntimeError("deliberate")

    monkeypatch.setattr(pump, "_handle", fail)
    add_movie(scene, ball)
    bpy.ops.rewas.generate()
    deadline_s = time.monotonic() + 60
    while not any(line.server_problem for line in board().jobs.values()):
        assert pump.on_timer() > 0
        assert time.monotonic() < deadline_s
    assert "deliberate" in capsys.readouterr().err


def test_disabling_the_extension_ends_every_thread(scene: Any, ball: Path) -> None:
    add_movie(scene, ball)
    bpy.ops.rewas.check_server()
    bpy.ops.rewas.generate()
    assert rewas_threads()
    assert bpy.ops.preferences.addon_disable(module=ADDON) == {"FINISHED"}
    try:
        assert rewas_threads() == []
        assert not hasattr(bpy.types, "REWAS_PT_generate")
    finally:
        bpy.ops.preferences.addon_enable(module=ADDON)
