"""A real window of Blender on a virtual screen, with a mouse and a keyboard.

Xvfb is the screen, xdotool moves the mouse and presses keys, and ImageMagick's `import` takes pictures. `observer.py`
inside Blender answers questions, so that nothing has to wait for a fixed time.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

OBSERVER = Path(__file__).with_name("observer.py")
WIDTH_PX, HEIGHT_PX = 1280, 1000
STEP_PX = 12
"""Distance between the places where a button is looked for. Buttons are higher."""
MENU_STEP_PX = 5
"""The same in menus and dialogs."""
COLUMNS = (0.5, 0.2, 0.75, 0.92, 0.35, 0.62, 0.85, 0.97, 0.08)
"""Where to look for buttons, as shares of the width of the sidebar."""
FILE_MENU = (45, HEIGHT_PX - 13)
"""Position of the word File in the menu bar."""
START_WITHIN_S = 120.0
"""Without a graphics card, Blender compiles its shaders on the processor when it first starts."""
ANSWER_WITHIN_S = 30.0
FOUND_WITHIN_S = 45.0


class WindowError(AssertionError):
    """The window is not in the state that the test expects."""


@contextmanager
def virtual_screen() -> Iterator[str]:
    """Run Xvfb on a free display. Yields the display's name, such as ":5"."""
    for program, package in (("Xvfb", "xvfb"), ("xdotool", "xdotool"), ("import", "imagemagick")):
        if shutil.which(program) is None:
            raise WindowError(f"The program {program} was not found. Install the package {package}.")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH_PX}x{HEIGHT_PX}x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as lines:
            number = lines.readline().strip()
        if not number:
            raise WindowError("Xvfb did not start. Run it by hand to see why.")
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(10)


@dataclass
class BlenderWindow:
    """A Blender that runs on a display.

    Args:
        display: The virtual screen.
        pictures: Folder for the screenshots.
        process: The running Blender.
        log: What it prints.
    """

    display: str
    pictures: Path
    process: subprocess.Popen[bytes]
    log: Path
    _connection: socket.socket | None = None
    _unread: bytes = b""
    _mouse: tuple[float, float] = (0, 0)
    _places: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _header_y: int | None = None

    def connect(self, port_file: Path) -> None:
        self.wait_until(port_file.exists, "Blender's window to open", within_s=START_WITHIN_S)
        self._connection = socket.create_connection(("127.0.0.1", int(port_file.read_text(encoding="utf-8"))), 10)
        self._connection.settimeout(START_WITHIN_S)
        self.ask("None", rounds=10)
        self._connection.settimeout(ANSWER_WITHIN_S)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # Questions

    def ask(self, code: str, *, rounds: int = 2) -> Any:
        """The value of a Python expression inside Blender, or of `result` after statements."""
        assert self._connection is not None
        self._connection.sendall(json.dumps({"code": code, "rounds": rounds}).encode() + b"\n")
        while b"\n" not in self._unread:
            try:
                data = self._connection.recv(1 << 16)
            except TimeoutError:
                raise WindowError(f"Blender no longer responds.{self._last_lines()}") from None
            if not data:
                raise WindowError(f"Blender has ended.{self._last_lines()}")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise WindowError(answer["error"])
        return answer["value"]

    def wait_until(self, condition: str | Callable[[], Any], what: str, *, within_s: float = 20.0) -> Any:
        """Wait until a condition is true: an expression inside Blender, or a function. Returns its value."""
        deadline_s = time.monotonic() + within_s
        while True:
            value = self.ask(condition) if isinstance(condition, str) else condition()
            if value:
                return value
            if self.process.poll() is not None:
                raise WindowError(f"Blender has ended with status {self.process.returncode}.{self._last_lines()}")
            if time.monotonic() > deadline_s:
                self._failure_picture()
                raise WindowError(f"Waited {within_s:g} s for {what}. The picture failure.png shows the window.")
            if not isinstance(condition, str):
                time.sleep(0.05)  # between two checks of a condition outside Blender

    # Mouse and keys

    def point(self, x: float, y: float) -> None:
        """Move the mouse. x, y: pixels of the window, from the lower left corner, as Blender counts."""
        self._mouse = (x, y)
        from_left, from_top = round(x), HEIGHT_PX - 1 - round(y)
        # Blender highlights a button when the mouse moves within it.
        self._xdotool("mousemove", from_left - 1, from_top, "mousemove", from_left, from_top)

    def click(self, x: float, y: float, *, times: int = 1, held: str = "") -> None:
        """Click with the left button. held: a key that is held down during the click, such as "alt"."""
        self.point(x, y)
        self.ask("None", rounds=2)
        if held:
            self._xdotool("keydown", held)
            self.ask("None", rounds=2)
        self._xdotool("click", "--repeat", times, "--delay", 60, 1)
        if held:
            self.ask("None", rounds=2)
            self._xdotool("keyup", held)
        self.ask("None", rounds=3)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.point(*start)
        self._xdotool("mousedown", 1)
        self.ask("None", rounds=2)
        for share in (0.25, 0.5, 0.75, 1.0):
            self.point(*(a + (b - a) * share for a, b in zip(start, end, strict=True)))
            self.ask("None", rounds=2)
        self._xdotool("mouseup", 1)
        self.ask("None", rounds=3)

    def press(self, *keys: str) -> None:
        """Press keys one after another, such as "ctrl+shift+f" or "Return"."""
        for key in keys:
            self._xdotool("key", key)
            self.ask("None", rounds=3)

    def type(self, text: str) -> None:
        self._xdotool("type", "--delay", 30, "--", text)
        self.ask("None", rounds=3)

    def press_over_timeline(self, *keys: str) -> None:
        left, bottom, width, height = self.ask("rectangle('WINDOW')")
        self.point(left + width * 0.3, bottom + height * 0.9)
        self.ask("None", rounds=2)
        self.press(*keys)

    # Buttons

    def find(self, name: str, region: str = "'UI'", *, column: float | None = None) -> tuple[int, int]:
        """Where a button or field is, in pixels of the window.

        name: a part of an operator's call, such as "rewas.generate(", or of the text in a field. column: where to look
        first, as a share of the width. region: its kind, and its area if that is not the sequencer, as arguments of the
        observer's `rectangle`.

        Blender does not tell Python where its buttons are. But with Ctrl C and Ctrl Shift C, it copies the call of the
        button under the mouse, or the text of the field and, for some properties, its path.
        """
        known = self._places.get((region, name))
        if known is not None and name in self.under(*known):
            return known
        left, bottom, width, height = self.ask(f"rectangle({region})")
        deadline_s = time.monotonic() + FOUND_WITHIN_S
        rows = list(range(bottom + height - 4, bottom, -STEP_PX))
        if self._header_y is not None:
            # The panel that the test has opened comes first, then what is above it.
            rows.sort(key=lambda y: y > self._header_y)
        for share in COLUMNS if column is None else (column, *COLUMNS):
            x = left + round(width * share)
            for y in rows:
                if name in self.under(x, y):
                    self._places[region, name] = (x, y)
                    return x, y
                if time.monotonic() > deadline_s:
                    break
        self._failure_picture()
        raise WindowError(f"There is no button for {name}. The picture failure.png shows the window.")

    def has(self, name: str) -> bool:
        """Whether a button or field is in the sidebar."""
        try:
            self.find(name)
        except WindowError:
            return False
        return True

    def under(self, x: float, y: float) -> str:
        """The call of the operator, or the path of the property, under this point. Empty if there is none."""
        self.point(x, y)
        self.ask("setattr(bpy.context.window_manager, 'clipboard', '')", rounds=2)
        self._xdotool("key", "ctrl+c", "key", "ctrl+shift+c")
        return str(self.ask("bpy.context.window_manager.clipboard", rounds=3))

    def press_button(self, name: str, *, column: float | None = None) -> None:
        self.click(*self.find(name, column=column))

    def find_field(self, owner: str, name: str) -> tuple[int, int]:
        """Where the field of a property is. For a short time, it shows a special value by which it is recognized.

        owner, name: an expression for the object with the property, and its name.
        """
        before = self.ask(f"getattr({owner}, {name!r})")
        mark = "this field" if isinstance(before, str) else 97
        self.ask(f"(setattr({owner}, {name!r}, {mark!r}), sequencer().tag_redraw())")
        try:
            return self.find(str(mark))
        finally:
            self._places.pop(("'UI'", str(mark)), None)
            self.ask(f"(setattr({owner}, {name!r}, {before!r}), sequencer().tag_redraw())", rounds=3)

    def fill(self, owner: str, name: str, text: str) -> None:
        """Replace the text of the field of a property. owner, name: as for `find_field`."""
        self.replace_text(self.find_field(owner, name), text)

    def replace_text(self, place: tuple[float, float], text: str) -> None:
        """Replace the text of the field at this place."""
        self.click(*place, times=2)
        self.press("ctrl+a")
        self.type(text)
        self.press("Return")

    def find_near(self, name: str) -> tuple[int, int]:
        """Where a button or field of the menu or dialog under the mouse is. name: as for `find`."""
        x, y = self._mouse
        # Check each entry several times: a submenu that opens on the way takes the keys until it closes.
        for distance in range(0, 250, MENU_STEP_PX):
            for there in {y + distance, y - distance}:
                if name in self.under(x, there):
                    return round(x), round(there)
        self._failure_picture()
        raise WindowError(f"There is no {name} near the mouse. The picture failure.png shows the window.")

    def fill_dialog(self, before: str, after: str) -> None:
        """Replace a text in the dialog under the mouse, and confirm the dialog. before: the text of its field."""
        self.replace_text(self.find_near(before), after)
        self.press("Return")

    def choose_file(self, path: Path) -> None:
        """Type a folder and a name into the open file browser, and confirm."""
        self.wait_until("file_browser()", "the file browser to open")
        self.replace_text(self.find("params.directory", "'UI', file_browser()"), f"{path.parent}/")
        left, bottom, width, height = self.ask("rectangle('EXECUTE', file_browser())")
        self.click(left + width * 0.3, bottom + height * 0.5, times=2)
        self.press("ctrl+a")
        self.type(path.name)
        self.press("Return")
        self.wait_until(f"file_browser().spaces.active.params.filename == {path.name!r}", "the name of the file")
        self.click(*self.find("file.execute(", "'EXECUTE', file_browser()"))
        self.wait_until("not file_browser()", "the file browser to close")
        # Newer versions of Blender let the user drag a strip right after adding it.
        if self.ask("[operator.bl_idname for operator in bpy.context.window.modal_operators]", rounds=4):
            self.press("Return")

    def choose_in_menu(self, keys: str, entry: str) -> None:
        """Open a menu over the timeline with a key, type the name of an entry, and confirm."""
        self.press_over_timeline(keys)
        self.press(entry[0])  # opens the search of the menu
        self.ask("None", rounds=10)
        self.type(entry[1:])
        self.ask("None", rounds=10)
        self.press("Return")

    def choose_file_from_menu(self, entry: str, path: Path) -> None:
        """Click File in the menu bar, search the menu for an entry, and choose a file for it.

        Meanwhile, the timeline does not fill the window: 4.3 would go on showing the file browser instead.
        """
        self.press_over_timeline("ctrl+space")
        self.wait_until("not bpy.context.window.screen.show_fullscreen", "all areas of the window")
        self.click(*FILE_MENU)
        self.press("space")
        self.ask("None", rounds=10)
        self.type(entry)
        self.ask("None", rounds=10)
        self.picture("file-menu", mouse_stays=True)
        self.press("Return")
        self.choose_file(path)
        self.press_over_timeline("ctrl+space")
        self.wait_until("bpy.context.window.screen.show_fullscreen", "the timeline to fill the window")

    def open_sidebar(self) -> None:
        if self.ask("rectangle('UI')[2]") < 2:
            self.press_over_timeline("n")
            self.wait_until("rectangle('UI')[2] > 100", "the sidebar to open")

    def open_tab(self, name: str) -> None:
        """Click the tabs of the sidebar until this one is open."""
        left, bottom, width, height = self.ask("rectangle('UI')")
        for y in range(bottom + height - 10, bottom, -15):
            self.click(left + width - 9, y)
            if self.ask("region('UI').active_panel_category") == name:
                return
        self._failure_picture()
        raise WindowError(f"The sidebar has no tab {name}. The picture failure.png shows the window.")

    @contextmanager
    def panel(self, name: str) -> Iterator[None]:
        """Open a panel by a click on its header, and close it afterwards. name: its class.

        If the header is below the visible part of the sidebar, the sidebar is scrolled meanwhile.
        """
        if self.is_open(name):
            yield
            return
        place = self.open_panel(name)
        self._header_y = round(place[1])
        try:
            yield
        finally:
            self._header_y = None
        self.click(*place)
        self.press_over_sidebar("Home")

    def open_panel(self, name: str) -> tuple[float, float]:
        """Open a closed panel, and leave it open. Returns the position of its header. Another panel must be closed."""
        self.press_over_sidebar("Home")
        offset = None
        while offset != (offset := self.ask("sidebar_offset()")):
            for place in self._closed_headers():
                self.click(*place)
                if self.is_open(name):
                    return self._scroll_up_to_contents(place)
                self.click(*place)
            self.press_over_sidebar("Next")
        self._failure_picture()
        raise WindowError(f"The header of the panel {name} was not found. The picture failure.png shows the window.")

    def _scroll_up_to_contents(self, header: tuple[float, float]) -> tuple[float, float]:
        """Turn the wheel until the contents below a header are visible. Returns the place of the header then."""
        _, bottom, _, height = self.ask("rectangle('UI')")
        x, y = header
        while y < bottom + height * 0.6:
            before = self.ask("sidebar_offset()")
            self.press_over_sidebar()
            self._xdotool("click", 5)
            moved_px = before - self.ask("sidebar_offset()", rounds=10)
            if moved_px <= 0:  # nothing more is below
                break
            y += moved_px
        return x, y

    def press_over_sidebar(self, *keys: str) -> None:
        left, bottom, width, height = self.ask("rectangle('UI')")
        # The right edge of the panels has no field that would take the key.
        self.point(left + width - 36, bottom + height * 0.5)
        self.ask("None", rounds=2)
        self.press(*keys)

    def _closed_headers(self) -> list[tuple[float, float]]:
        """The places of the closed panels. Their headers begin with the same triangle in the same column."""
        left, bottom, width, height = self.ask("rectangle('UI')")
        self.point(left - 100, bottom + height * 0.97)
        self.ask("sequencer().tag_redraw()", rounds=20)
        pixels = np.asarray(Image.open(self._take("headers")).convert("L"))
        (self.pictures / "headers.png").unlink()
        places: dict[bytes, list[tuple[float, float]]] = {}
        for row in range(HEIGHT_PX - bottom - height, HEIGHT_PX - bottom - 20):
            patch = pixels[row : row + 20, left + 27 : left + 41]
            if np.ptp(patch[3:-3]) > 60 and np.ptp(patch[:3]) < 20 and np.ptp(patch[-3:]) < 20:
                places.setdefault(patch.tobytes(), []).append((left + width * 0.5, HEIGHT_PX - 1 - (row + 10)))
        found: list[tuple[float, float]] = []
        for group in sorted(places.values(), key=len, reverse=True):
            # The same triangle is found again a few rows above and below. Stars and icons of lists repeat, too.
            is_new = all(abs(y - other) > 8 for _, y in group for _, other in found)
            if len(group) > 1 and is_new and not self.under(*group[0]):
                found += group
        return found

    def is_open(self, name: str) -> bool:
        return name in self.open_panels()

    def open_panels(self) -> set[str]:
        """The classes of the panels that are drawn with their contents."""
        self.ask("None", rounds=20)  # panels open and close in an animation
        now = self.ask("(sequencer().tag_redraw(), rounds)[1]")
        return set(self.ask(f"[name for name, when in drawn.items() if when >= {now}]", rounds=4))

    # Pictures

    def picture(self, name: str, *, mouse_stays: bool = False) -> Path:
        """Take a picture of the screen. The mouse moves away first, so that there is no tooltip."""
        if mouse_stays:
            self.ask("None", rounds=8)
            return self._take(name)
        left, bottom, width, height = self.ask("rectangle('WINDOW')")
        self.point(left + width * 0.5, bottom + height * 0.97)
        self.ask("sequencer().tag_redraw()", rounds=3)
        self.ask("None", rounds=8)
        return self._take(name)

    def _failure_picture(self) -> None:
        self._take("failure")

    def _take(self, name: str) -> Path:
        path = self.pictures / f"{name}.png"
        subprocess.run(["import", "-window", "root", "-display", self.display, str(path)], check=True, timeout=30)
        return path

    def _xdotool(self, *words: object) -> None:
        subprocess.run(
            ["xdotool", *map(str, words)], env={**os.environ, "DISPLAY": self.display}, check=True, timeout=30
        )

    def _last_lines(self) -> str:
        return "\n" + "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
