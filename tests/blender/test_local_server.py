"""From an empty panel to sound: first-run card, installing, starting, sample clip, stopping, removing.

The server is the tiny one of tests/addon, installed for real.
"""

import dataclasses
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import ADDON, MAIN_PYTHON, add_movie, part, strips_of
from test_extension import draw_panel

sys.path.append(str(Path(__file__).resolve().parents[1] / "addon"))


@pytest.fixture
def local(scene: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The local server of this profile. No other server of this machine answers."""
    monkeypatch.setenv("PATH", f"{MAIN_PYTHON.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setattr(part("core.local_server"), "find_answering_server", lambda addresses=(): "")
    probe = part("core.python_search").probe_python
    monkeypatch.setattr(part("core.server_install"), "find_python", lambda **_: probe(MAIN_PYTHON))
    server = part("blender.shared_session").local_server()
    server.refresh()
    assert server.join(20)
    yield server
    server.close()
    server.remove()
    assert server.join(60)
    part("blender.shared_session").close_local_server()


def release_with_wheels(folder: Path) -> tuple[Any, Path]:
    """The tiny release, as the extension's own class."""
    import toy_server

    requirements, wheels = toy_server.write_release(folder)
    return part("core.server_install").ServerRelease(toy_server.VERSION, requirements, toy_server.CHECK), wheels


def answer(problem: Any = None, address: str = "127.0.0.1:9", **more: Any) -> None:
    """Show that the server at an address answers, or does not. What the real watch finds out stays in its queue."""
    messages, session = part("core.messages"), part("blender.shared_session").session()
    session.board = dataclasses.replace(session.board, server=messages.ServerState(address, problem, **more))


def nobody_answers() -> None:
    answer(part("core.messages").Problem("No server answers at 127.0.0.1:9.", "Start one with `rewas serve`."))


def tick_until(condition: Any, within_s: float = 60.0) -> None:
    """Call the timer as Blender would."""
    show = part("blender.server_operators").show_local_server
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, part("blender.shared_session").local_server().status
        assert show() > 0
        time.sleep(0.01)
    show()


def test_the_first_run_card_names_every_way_to_a_server(local: Any) -> None:
    nobody_answers()
    drawn = draw_panel("REWAS_PT_generate")
    assert "rewas.install_server_from_folder" in drawn
    assert "rewas.set_server_address" in drawn
    assert "Install and Start the Local Server" in drawn
    assert not bpy.app.online_access
    assert "Allow Online Access" in drawn
    assert hasattr(bpy.ops.extensions, "userpref_allow_online")
    assert not bpy.ops.rewas.install_server.poll()
    assert "rewas.try_sample" not in drawn
    assert not bpy.ops.rewas.try_sample.poll()
    answer(version="0.2.0", device="cpu", worker_ready=True)
    drawn = draw_panel("REWAS_PT_generate")
    assert "rewas.try_sample" in drawn
    assert "Install" not in drawn
    assert not bpy.ops.rewas.start_server.poll()


def test_the_first_run_card_says_why_an_entered_address_does_not_work(local: Any) -> None:
    contract, messages = part("core.contract"), part("core.messages")
    problem = messages.Problem("The server requires a token.", "Start it as the same user.")
    answer(messages.Problem("Nothing answers.", "Start a server."), contract.DEFAULT_ADDRESS, is_absent=True)
    assert "Nothing answers." not in draw_panel("REWAS_PT_generate")
    for address, is_absent in ((contract.DEFAULT_ADDRESS, False), ("127.0.0.1:9", False), ("127.0.0.1:9", True)):
        answer(problem, address, is_absent=is_absent)
        assert "The server requires a token." in draw_panel("REWAS_PT_generate")


def test_an_address_is_entered_and_used(local: Any) -> None:
    nobody_answers()
    assert bpy.ops.rewas.set_server_address(address="127.0.0.1:8") == {"FINISHED"}
    assert bpy.context.preferences.addons[ADDON].preferences.server_address == "127.0.0.1:8"


def test_from_nothing_to_a_running_server_and_back(local: Any, tmp_path: Path) -> None:
    local.release, wheels = release_with_wheels(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    preferences = bpy.context.preferences.addons[ADDON].preferences
    preferences.server_address, preferences.device = f"127.0.0.1:{port}", "cpu"
    nobody_answers()
    with socket.create_server(("127.0.0.1", port)):  # another program takes the port
        assert bpy.ops.rewas.install_server_from_folder(directory=str(wheels)) == {"FINISHED"}
        assert local.status.phase == "installing"  # the operator does not wait
        assert "rewas.cancel_install" in draw_panel("REWAS_PT_generate")
        assert not bpy.ops.rewas.start_server.poll()
        tick_until(lambda: not local.status.is_busy)
    status = local.status
    assert (status.phase, status.device, status.problem) == ("running", "cpu", None)
    # The add-on uses the port that the server chose.
    assert preferences.server_address == status.address != f"127.0.0.1:{port}"
    answer(version="0.2.0", device="cpu", worker_ready=True, address=status.address)
    assert "rewas.stop_server" in draw_panel("REWAS_PT_generate")
    assert part("blender.panels").REWAS_PT_server_log.poll(bpy.context)
    draw_panel("REWAS_PT_server_log")
    part("blender.server_operators").show_local_server()
    assert "ReWaS listens on" in draw_panel("REWAS_PT_server_log")
    assert bpy.ops.rewas.stop_server() == {"FINISHED"}
    tick_until(lambda: not local.status.is_busy)
    nobody_answers()
    assert "The local server is stopped" in draw_panel("REWAS_PT_generate")
    assert bpy.ops.rewas.start_server() == {"FINISHED"}
    tick_until(lambda: not local.status.is_busy)
    assert local.status.phase == "running"
    assert bpy.ops.rewas.remove_server() == {"FINISHED"}
    tick_until(lambda: not local.status.is_busy)
    assert local.status.phase == "absent"
    assert not local.folder.folder.exists()


def test_a_failed_installation_is_explained_in_the_panel(local: Any, tmp_path: Path) -> None:
    nobody_answers()
    bpy.ops.rewas.install_server_from_folder(directory=str(tmp_path))
    tick_until(lambda: not local.status.is_busy)
    drawn = " ".join(draw_panel("REWAS_PT_generate").split())
    assert "contains no wheels" in drawn
    assert "Choose the folder with the .whl files" in drawn


def test_an_interrupted_installation_can_be_continued(local: Any) -> None:
    nobody_answers()
    installation = part("core.server_install").Installation("0.2.0", "pip", "/usr/bin/python3")
    local.folder.write_installation(installation)
    local.refresh()
    tick_until(lambda: local.status.phase == "unfinished")
    assert "Continue the Installation" in draw_panel("REWAS_PT_generate")


def test_the_release_is_that_of_the_extension(local: Any) -> None:
    release = part("blender.shared_session").local_server().release
    assert release.version == "0.2.0"
    assert "torch==" in release.requirements.read_text(encoding="utf-8")
    assert "--hash=sha256:" in release.requirements.read_text(encoding="utf-8")
    assert local.folder.folder == part("core.folders").data_folder() / "server"


def test_the_sample_clip_is_added_to_an_empty_timeline(local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(version="0.2.0", device="cpu", worker_ready=True)
    assert bpy.ops.rewas.try_sample() == {"FINISHED"}
    scene = bpy.context.scene
    (strip,) = strips_of(scene.sequence_editor)
    sample = part("timeline.sample")
    assert (scene.render.fps, scene.render.fps_base, scene.frame_end) == (24, 1.0, sample.SAMPLE_FRAMES)
    assert part("blender.compat").right_handle(strip) - part("blender.compat").left_handle(strip) == 96
    assert strip.rewas.prompt == sample.SAMPLE_PROMPT
    assert strip.transform.scale_x * sample.SAMPLE_SIZE_PX[0] == scene.render.resolution_x
    assert Path(strip.filepath).is_relative_to(part("core.folders").data_folder())
    assert len(part("blender.shared_session").session().board.jobs) == 1


def test_the_sample_clip_leaves_an_edit_alone(local: Any, ball: Path) -> None:
    edit = bpy.context.scene
    add_movie(edit, ball)
    answer(version="0.2.0", device="cpu", worker_ready=True)
    assert bpy.ops.rewas.try_sample() == {"FINISHED"}
    assert len(strips_of(edit.sequence_editor)) == 1
    assert (edit.render.fps, round(edit.render.fps_base, 3)) == (24, 1.001)
    assert bpy.context.window.scene.name == "ReWaS Sample"
    assert len(part("blender.shared_session").session().board.jobs) == 1


def test_the_preferences_show_the_local_server(local: Any) -> None:
    drawn: list[str] = []
    from test_extension import RecordingLayout

    class Region:
        width = 400

    class Context:
        preferences = bpy.context.preferences
        region = Region()

    preferences = bpy.context.preferences.addons[ADDON].preferences
    part("blender.server_drawing").draw_preferences(RecordingLayout(drawn), Context(), preferences)
    text = " ".join(drawn)
    assert "rewas.install_server" in text
    assert "device" in text
    local.folder.write_installation(part("core.server_install").Installation("0.2.0", "uv", "p", is_complete=True))
    local.folder.python.parent.mkdir(parents=True)
    local.folder.python.touch()
    local.refresh()
    tick_until(lambda: local.status.phase == "stopped")
    part("blender.server_drawing").draw_preferences(RecordingLayout(drawn), Context(), preferences)
    text = " ".join(drawn)
    assert "Installed: 0.2.0, stopped" in text
    assert "rewas.start_server" in text
    assert "rewas.remove_server" in text
    assert "Update the Local Server" not in text
    local.folder.write_installation(part("core.server_install").Installation("0.1.0", "uv", "p", is_complete=True))
    local.refresh()
    tick_until(lambda: local.status.is_outdated)
    nobody_answers()
    assert "Server 0.1.0 belongs to another version" in draw_panel("REWAS_PT_generate")
    assert "Update the Local Server" in draw_panel("REWAS_PT_generate")
