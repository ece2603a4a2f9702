"""A job belongs to its .blend file: its sound arrives there, whatever is open, and its stems follow the file."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from arriving_stems import arrive
from conftest import ADDON, add_movie, part, strips_of

HAS_SOUND = bpy.app.version >= (4, 3)


def session() -> Any:
    return part("blender.shared_session").session()


def board() -> Any:
    return session().board


def pump_until(condition: Any, within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, board()
        part("blender.pump").pump()
        threading.Event().wait(0.002)


def pump_all() -> None:
    pump_until(lambda: not session().is_looking and session()._messages.empty())
    for _ in range(4):
        part("blender.pump").pump()


def generate(scene: Any) -> str:
    """Generate sound for the selected strip. No server answers, so the job waits."""
    known = set(board().jobs)
    assert bpy.ops.rewas.generate() == {"FINISHED"}
    (key,) = set(board().jobs) - known
    return key


def save(path: Path, **options: Any) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(path), **options)


def open_blend(path: Path) -> Any:
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return bpy.context.scene


def takes_of(scene: Any, name: str) -> list[Any]:
    return part("blender.take_list").read_takes(part("blender.compat").all_strips_of(scene.sequence_editor)[name])


def records_in(scene: Any) -> list[Any]:
    return [json.loads(job.record) for job in scene.rewas.jobs]


def restart_session() -> None:
    """Discard everything in memory, as a crash does."""
    pump_all()
    assert session().close()
    part("blender.shared_session").close_session()


@pytest.fixture
def relative_stems(scene: Any) -> None:
    bpy.context.preferences.addons[ADDON].preferences.stems_folder = "//rewas-stems/"


def test_sound_waits_for_its_own_file(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    save(tmp_path / "e.blend")
    save(tmp_path / "d.blend")
    key = generate(scene)
    save(tmp_path / "d.blend")
    other = open_blend(tmp_path / "e.blend")
    pump_all()
    arrive(key)
    pump_until(lambda: board().jobs[key].state == "stored")
    assert "Open d.blend to place it" in board().jobs[key].status_text
    assert takes_of(other, ball.name) == []
    assert len(strips_of(other.sequence_editor)) == 1
    save(tmp_path / "e.blend")
    assert records_in(other) == []
    scene = open_blend(tmp_path / "d.blend")
    pump_until(lambda: board().jobs[key].state == "done")
    assert [take.job_id for take in takes_of(scene, ball.name)] == [f"job-{key}"]
    assert len(strips_of(scene.sequence_editor)) == 1 + HAS_SOUND


def test_stems_that_are_about_to_be_placed_wait_when_another_file_is_opened(
    scene: Any, ball: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals = part("blender.arrivals")
    add_movie(scene, ball)
    save(tmp_path / "d.blend")
    key = generate(scene)
    monkeypatch.setattr(arrivals, "is_user_busy", lambda: True)
    arrive(key)
    pump_until(arrivals.is_waiting)
    pump_all()
    assert board().jobs[key].state == "arriving"
    assert takes_of(scene, ball.name) == []
    bpy.ops.wm.read_homefile(use_empty=True)
    assert board().jobs[key].state == "stored"
    scene = open_blend(tmp_path / "d.blend")
    pump_until(arrivals.is_waiting)
    assert takes_of(scene, ball.name) == []
    monkeypatch.setattr(arrivals, "is_user_busy", lambda: False)
    pump_until(lambda: board().jobs[key].state == "done")
    assert len(takes_of(scene, ball.name)) == 1


def test_a_job_is_found_after_a_crash_before_the_file_was_saved(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    save(tmp_path / "d.blend")
    key = generate(scene)
    arrive(key)
    pump_until(lambda: board().jobs[key].state == "done")
    # The crash takes the file's changes along: neither the job nor the placed sound was saved.
    restart_session()
    scene = open_blend(tmp_path / "d.blend")
    assert takes_of(scene, ball.name) == []
    pump_until(lambda: key in board().jobs and board().jobs[key].state == "done")
    assert len(takes_of(scene, ball.name)) == 1
    save(tmp_path / "d.blend")
    restart_session()
    assert list(part("core.folders").journal_folder().iterdir()) == []
    scene = open_blend(tmp_path / "d.blend")
    pump_all()
    assert len(takes_of(scene, ball.name)) == 1
    assert dict(board().jobs) == {}


def test_a_job_is_found_in_the_file_on_another_machine(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    save(tmp_path / "d.blend")
    key = generate(scene)
    save(tmp_path / "d.blend")
    restart_session()
    for path in part("core.folders").journal_folder().iterdir():
        path.unlink()
    moved = tmp_path / "elsewhere" / "renamed.blend"
    moved.parent.mkdir()
    (tmp_path / "d.blend").rename(moved)
    open_blend(moved)
    pump_until(lambda: key in board().jobs and board().jobs[key].server_problem is not None)
    record = session().book.get(key)
    assert record.blend_file == str(moved)
    assert record.clip.name == ball.name
    assert bpy.ops.rewas.cancel(key=key) == {"FINISHED"}
    pump_until(lambda: board().jobs[key].is_finished)
    save(moved)
    assert records_in(bpy.context.scene) == []


def test_saving_right_after_opening_loses_no_job(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    save(tmp_path / "d.blend")
    keys = [generate(scene)]
    save(tmp_path / "d.blend")
    restart_session()
    scene = open_blend(tmp_path / "d.blend")
    keys.append(generate(scene))
    save(tmp_path / "d.blend")
    assert [record["key"] for record in records_in(scene)] == keys
    pump_all()
    for key in keys:
        arrive(key)
    pump_until(lambda: all(board().jobs[key].state == "done" for key in keys))
    assert len(takes_of(scene, ball.name)) == 2
    save(tmp_path / "d.blend")
    assert records_in(scene) == []


def test_undo_loses_no_job(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    bpy.ops.ed.undo_push(message="before")
    key = generate(scene)
    bpy.context.scene.rewas.jobs.clear()  # as undo does
    save(tmp_path / "d.blend")
    assert [record["key"] for record in records_in(bpy.context.scene)] == [key]


def test_a_failed_job_can_be_retried_after_the_file_was_opened_again(scene: Any, ball: Path, tmp_path: Path) -> None:
    messages = part("core.messages")
    problem = messages.Problem("The picture is torn.", "Take another.")
    add_movie(scene, ball)
    save(tmp_path / "d.blend")
    key = generate(scene)
    session().book.change(key, problem=problem)
    session()._messages.put(messages.JobFailed(key, problem))
    pump_until(lambda: board().jobs[key].state == "failed")
    restart_session()
    open_blend(tmp_path / "d.blend")
    pump_until(lambda: key in board().jobs)
    assert (board().jobs[key].problem, board().jobs[key].can_retry) == (problem, True)
    assert bpy.ops.rewas.retry(key=key) == {"FINISHED"}
    assert board().jobs[key].state == "sending"
    session()._messages.put(messages.JobFailed(key, problem))
    pump_until(lambda: board().jobs[key].state == "failed")
    assert bpy.ops.rewas.clear_finished() == {"FINISHED"}
    restart_session()
    open_blend(tmp_path / "d.blend")
    pump_all()
    assert dict(board().jobs) == {}


@pytest.mark.usefixtures("relative_stems")
def test_the_stems_of_an_unsaved_file_move_next_to_it_when_it_is_saved(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    key = generate(scene)
    folder = session().book.get(key).stems_folder
    # The folder outlives the extension and its profile.
    assert folder.is_relative_to(part("core.folders").data_folder())
    assert not folder.is_relative_to(bpy.utils.user_resource("EXTENSIONS"))
    arrive(key, takes=2)
    pump_until(lambda: board().jobs[key].state == "done")
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2
    film = tmp_path / "film" / "film.blend"
    film.parent.mkdir()
    save(film)
    assert not folder.exists()
    assert sorted(path.name for path in (film.parent / "rewas-stems").iterdir()) == names
    film.parent.rename(tmp_path / "moved")
    scene = open_blend(tmp_path / "moved" / "film.blend")
    stems = tmp_path / "moved" / "rewas-stems"
    assert [take.stems[0].path.parent for take in takes_of(scene, ball.name)] == [stems, stems]
    sounds = [strip.sound for strip in strips_of(scene.sequence_editor) if strip.type == "SOUND"]
    assert [Path(bpy.path.abspath(sound.filepath)).is_file() for sound in sounds] == [True] * HAS_SOUND


@pytest.mark.usefixtures("relative_stems")
def test_a_saved_copy_takes_nothing_from_the_unsaved_file(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    key = generate(scene)
    folder = session().book.get(key).stems_folder
    arrive(key)
    pump_until(lambda: board().jobs[key].state == "done")
    save(tmp_path / "copy.blend", copy=True)
    assert len(list(folder.iterdir())) == 1
    assert takes_of(scene, ball.name)[0].stems[0].path.parent == folder
    scene = open_blend(tmp_path / "copy.blend")
    assert takes_of(scene, ball.name)[0].stems[0].path.parent == tmp_path / "rewas-stems"
    assert takes_of(scene, ball.name)[0].stems[0].path.is_file()


@pytest.mark.usefixtures("relative_stems")
def test_a_failed_first_save_changes_nothing(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    key = generate(scene)
    folder = session().book.get(key).stems_folder
    arrive(key)
    pump_until(lambda: board().jobs[key].state == "done")
    (tmp_path / "film.blend@").mkdir()  # Blender writes to this name first
    with pytest.raises(RuntimeError):
        save(tmp_path / "film.blend")
    assert len(list(folder.iterdir())) == 1
    assert takes_of(scene, ball.name)[0].stems[0].path.parent == folder
    assert list((tmp_path / "rewas-stems").iterdir()) == []


@pytest.mark.usefixtures("relative_stems")
def test_takes_are_found_after_saving_under_another_folder(scene: Any, ball: Path, tmp_path: Path) -> None:
    add_movie(scene, ball)
    save(tmp_path / "film.blend")
    key = generate(scene)
    arrive(key)
    pump_until(lambda: board().jobs[key].state == "done")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    save(tmp_path / "deep" / "copy.blend", copy=True)
    stem = tmp_path / "rewas-stems" / f"{key[:8]}-1.wav"
    assert [take.stems[0].path for take in takes_of(scene, ball.name)] == [stem]
    save(tmp_path / "deep" / "er" / "film.blend")
    for path in (tmp_path / "deep" / "er" / "film.blend", tmp_path / "deep" / "copy.blend"):
        scene = open_blend(path)
        assert [take.stems[0].path.resolve() for take in takes_of(scene, ball.name)] == [stem]


def test_arrivals_wait_while_the_user_drags_and_change_no_selection(
    scene: Any, ball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals, activity = part("blender.arrivals"), part("blender.user_activity")
    first = add_movie(scene, ball)
    keys = [generate(scene)]
    first.select = False
    second = add_movie(scene, ball, start=100)
    keys.append(generate(scene))
    window = SimpleNamespace(modal_operators=[bpy.types.Operator])

    class Drag:
        """An operator of Blender: its type is in a module of Blender."""

        __module__ = "bpy_types"

        def as_pointer(self) -> int:
            return 1

    class Keys(Drag):
        """An operator of an add-on that shows the pressed keys all day."""

        __module__ = "bl_ext.user_default.screencast_keys"

    context = SimpleNamespace(window_manager=SimpleNamespace(windows=[window]))
    replaced = SimpleNamespace(app=bpy.app, context=context)
    monkeypatch.setattr(activity, "bpy", replaced)
    window.modal_operators = [Drag()]
    for key in keys:
        arrive(key)
    pump_all()
    assert activity.is_user_busy()
    assert [board().jobs[key].state for key in keys] == ["arriving"] * 2
    window.modal_operators = [Keys()]
    assert activity.is_user_busy()
    monkeypatch.setattr(activity, "_HARMLESS_AFTER_S", 0.0)
    assert not activity.is_user_busy()
    window.modal_operators = []
    # One at a time.
    states = set()
    while arrivals.has_stems():
        part("blender.pump").pump()
        states.add(tuple(sorted(board().jobs[key].state for key in keys)))
    assert states == {("arriving", "arriving"), ("arriving", "done"), ("done", "done")}
    pump_until(lambda: not arrivals.is_waiting())
    assert [strip.name for strip in strips_of(scene.sequence_editor) if strip.select] == [second.name]
    assert scene.sequence_editor.active_strip == second


def test_failures_show_in_the_status_bar(scene: Any, ball: Path) -> None:
    messages, status_bar = part("core.messages"), part("blender.status_bar")
    status_bar.clear_failure()
    add_movie(scene, ball)
    key = generate(scene)
    drawn: list[str] = []
    header = SimpleNamespace(layout=SimpleNamespace(label=lambda text, icon: drawn.append(f"{icon} {text}")))
    pump_until(lambda: board().jobs[key].server_problem)
    part("blender.pump").pump()
    status_bar._draw(header, None)
    session()._messages.put(messages.JobFailed(key, messages.Problem("The picture is torn.", "Take another.")))
    pump_until(lambda: board().jobs[key].state == "failed")
    status_bar._draw(header, None)
    assert drawn == [f"SPEAKER ReWaS: {ball.name}: Waiting for the server", "ERROR ReWaS: The picture is torn."]
    assert bpy.ops.rewas.clear_finished() == {"FINISHED"}
    part("blender.pump").pump()
    status_bar._draw(header, None)
    assert len(drawn) == 2
    assert status_bar._draw in bpy.types.STATUSBAR_HT_header.draw._draw_funcs
