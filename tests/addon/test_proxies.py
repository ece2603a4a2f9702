"""Proxies without Blender: where they are kept, and the process that renders them, played by a Python script."""

import json
import os
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_selection import movie

from rewas_nle.core.proxies import (
    KEPT_S,
    ProxyFailed,
    ProxyProgress,
    ProxyReady,
    ProxyRender,
    ProxyTask,
    locate_proxy,
    prune_proxies,
    use_proxy,
)
from rewas_nle.core.slices import run_all
from rewas_nle.timeline.rates import exact_rate

RATE = exact_rate(25.0)
assert RATE is not None


def locate(folder: Path, *files: Path, key: str = "k", frames: int = 10) -> Any:
    snapshot = replace(movie(RATE, frames), picture_key=key, picture_files=tuple(map(str, files)))
    return run_all(locate_proxy(snapshot, folder))


def test_a_proxy_is_named_after_the_picture_and_its_files(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"1")
    first = locate(tmp_path, file).proxy_path
    assert Path(first).parent == tmp_path
    assert locate(tmp_path, file).proxy_path == first
    assert locate(tmp_path, file, key="other").proxy_path != first
    assert locate(tmp_path, file, frames=11).proxy_path != first
    file.write_bytes(b"12")
    assert locate(tmp_path, file).proxy_path != first


def test_missing_files_are_named_and_counted(tmp_path: Path) -> None:
    present = tmp_path / "1.png"
    present.touch()
    found = locate(tmp_path, present, tmp_path / "2.png", tmp_path / "3.png")
    assert (found.missing_file, found.missing_files) == (str(tmp_path / "2.png"), 2)
    assert found.proxy_path == ""


def test_a_strip_that_shows_a_range_of_its_file_needs_no_proxy(tmp_path: Path) -> None:
    snapshot = movie(RATE, 10)
    assert run_all(locate_proxy(snapshot, tmp_path)) is snapshot


def test_thousands_of_files_are_inspected_in_slices(tmp_path: Path) -> None:
    snapshot = replace(movie(RATE, 10), picture_key="k", picture_files=tuple(f"{tmp_path}/{n}" for n in range(1000)))
    assert sum(1 for _ in locate_proxy(snapshot, tmp_path)) == 20


def test_unused_and_unfinished_proxies_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1e9
    ages_s = {"new.mp4": 0.0, "old.mp4": KEPT_S + 1, "unfinished-a.mp4": 1e5, "unfinished-b.mp4": 10.0}
    for name, age_s in ages_s.items():
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (now_s - age_s, now_s - age_s))
    deleted = prune_proxies(tmp_path, now_s=now_s)
    assert {path.name for path in deleted} == {"old.mp4", "unfinished-a.mp4"}
    assert use_proxy(tmp_path / "new.mp4")
    assert not use_proxy(tmp_path / "old.mp4")
    monkeypatch.setattr("rewas_nle.core.proxies.KEPT_BYTES", 150)
    os.utime(tmp_path / "new.mp4", (now_s - 20, now_s - 20))
    assert [path.name for path in prune_proxies(tmp_path, now_s=now_s)] == ["new.mp4"]
    assert prune_proxies(tmp_path / "none") == []


RENDERER = """
import json, os, pathlib, sys, time
work = json.loads(pathlib.Path(sys.argv[-1]).read_text())
def say(**message):
    print("Fra:1 Mem:2M REWAS is not at the start", flush=True)
    print("REWAS " + json.dumps(message), flush=True)
for task in work["tasks"]:
    key, path = task["key"], pathlib.Path(task["path"])
    say(key=key, frames=0)
    if key == "crash":
        path.write_bytes(b"half")
        print("Segmentation fault", flush=True)
        os._exit(11)
    if key == "wait":
        path.write_bytes(b"half")
        time.sleep(600)
    if key == "unreadable":
        say(key=key, problem="shot.mp4 cannot be read")
        continue
    path.write_bytes(b"movie of " + task["strip"].encode())
    say(key=key, frames=task["frames"])
    say(key=key, is_complete=True)
"""


class Rendering:
    """A render of tasks with these keys, and its messages."""

    def __init__(self, folder: Path, *keys: str) -> None:
        script = folder / "renderer.py"
        script.write_text(textwrap.dedent(RENDERER))
        self.copy = folder / "copy.blend"
        self.copy.touch()
        self.folder = folder / "proxies"
        self.messages: list[Any] = []
        self.arrived = threading.Condition()
        tasks = [ProxyTask(key, f"strip {key}", (), (), 1, 5, True, self.folder / f"{key}.mp4") for key in keys]
        self.render = ProxyRender([sys.executable, str(script)], self.copy, "Scene", tasks, post=self._post)
        self.render.start()

    def _post(self, message: Any) -> None:
        with self.arrived:
            self.messages.append(message)
            self.arrived.notify_all()

    def wait_for(self, kind: type, key: str) -> Any:
        def found() -> Any:
            return next((each for each in self.messages if isinstance(each, kind) and each.key == key), None)

        with self.arrived:
            assert self.arrived.wait_for(lambda: found() is not None, timeout=30)
            return found()

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


def test_proxies_are_complete_when_they_are_announced(tmp_path: Path) -> None:
    rendering = Rendering(tmp_path, "a", "b")
    rendering.wait_for(ProxyReady, "b")
    assert (rendering.folder / "b.mp4").read_bytes() == b"movie of strip b"
    assert rendering.render.join(30)
    assert rendering.names() == {"a.mp4", "b.mp4"}
    assert ProxyProgress("a", 5, 5) in rendering.messages
    assert not rendering.copy.exists()
    assert not list(tmp_path.glob("*.json"))


def test_a_crash_fails_one_proxy_and_the_others_are_rendered(tmp_path: Path) -> None:
    rendering = Rendering(tmp_path, "a", "crash", "b")
    problem = rendering.wait_for(ProxyFailed, "crash").problem
    assert 'the strip "strip crash" (Segmentation fault)' in problem.what
    assert problem.remedy
    rendering.wait_for(ProxyReady, "b")
    assert rendering.render.join(30)
    assert rendering.names() == {"a.mp4", "b.mp4"}
    assert sum(isinstance(message, ProxyReady) and message.key == "a" for message in rendering.messages) == 1


def test_what_blender_cannot_read_is_reported_in_its_words(tmp_path: Path) -> None:
    rendering = Rendering(tmp_path, "unreadable", "a")
    assert "(shot.mp4 cannot be read)" in rendering.wait_for(ProxyFailed, "unreadable").problem.what
    rendering.wait_for(ProxyReady, "a")
    assert rendering.render.join(30)


def test_a_cancelled_proxy_ends_its_process_and_not_the_others(tmp_path: Path) -> None:
    rendering = Rendering(tmp_path, "wait", "a")
    rendering.wait_for(ProxyProgress, "wait")
    assert rendering.render.cancel("wait")
    assert not rendering.render.cancel("wait")
    rendering.wait_for(ProxyReady, "a")
    assert rendering.render.join(30)
    assert rendering.names() == {"a.mp4"}
    assert not [message for message in rendering.messages if isinstance(message, ProxyFailed)]


def test_closing_ends_the_process_and_leaves_nothing_behind(tmp_path: Path) -> None:
    rendering = Rendering(tmp_path, "wait", "a")
    rendering.wait_for(ProxyProgress, "wait")
    rendering.render.close()
    assert rendering.render.join(30)
    assert rendering.names() == set()
    assert not rendering.copy.exists()
    assert not [message for message in rendering.messages if not isinstance(message, ProxyProgress)]


def test_a_blender_that_cannot_be_started_fails_every_proxy(tmp_path: Path) -> None:
    messages: list[Any] = []
    tasks = [ProxyTask(key, key, (), (), 1, 5, True, tmp_path / f"{key}.mp4") for key in ("a", "b")]
    render = ProxyRender([str(tmp_path / "no-blender")], tmp_path / "c.blend", "Scene", tasks, post=messages.append)
    render.start()
    assert render.join(30)
    assert [(type(message), message.key) for message in messages] == [(ProxyFailed, "a"), (ProxyFailed, "b")]
    assert "no-blender" in json.dumps(messages[0].problem.what)
