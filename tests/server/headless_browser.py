"""A real Chromium without a window, driven over its DevTools protocol.

The protocol runs over two pipes, so the browser opens no port.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ANSWER_TIMEOUT_S = 30.0
_FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--mute-audio", "--remote-debugging-pipe",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


def find_browser() -> str | None:
    """The path of a Chromium on this machine; None if there is none."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


class Browser:
    """A browser with an empty profile. folder: for the profile. hosts: names that it resolves to 127.0.0.1."""

    def __init__(self, folder: Path, hosts: tuple[str, ...] = ()) -> None:
        program = find_browser()
        assert program is not None
        rules = ",".join(f"MAP {host} 127.0.0.1" for host in hosts)
        flags = [*_FLAGS, f"--user-data-dir={folder}", *([f"--host-resolver-rules={rules}"] if rules else [])]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses to sandbox itself as root
        from_test, self._to_browser = os.pipe()
        self._from_browser, to_test = os.pipe()

        def place_pipes() -> None:
            # The browser expects them at 3 and 4, which may be in use here.
            reading, writing = os.dup(from_test), os.dup(to_test)
            high = [os.dup(reading) for _ in range(8)][-1], os.dup(writing)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._log = (folder.parent / f"{folder.name}.log").open("w")
        self._process = subprocess.Popen(
            [program, *flags, "about:blank"], preexec_fn=place_pipes, pass_fds=(3, 4), stdout=self._log,
            stderr=self._log, start_new_session=True, env=os.environ | {"HOME": str(folder)},
        )  # fmt: skip
        os.close(from_test)
        os.close(to_test)
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to_browser)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._from_browser)
        self._log.close()

    def call(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol. Events that arrive meanwhile are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            answer = self._read(deadline_s)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self, deadline_s: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, "the browser does not answer"
            if select.select([self._from_browser], [], [], left_s)[0]:
                data = os.read(self._from_browser, 1 << 16)
                assert data, "the browser has ended"
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def new_tab(self) -> Tab:
        return Tab(self)


class Tab:
    """One page of the browser."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = 50.0) -> Any:
        """Wait until an expression is true, and return its value."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                value = self.evaluate(expression)
            except AssertionError:
                # A page that is being replaced has no context for a moment.
                value = None
            if value:
                return value
            assert time.monotonic() < deadline_s, f"{expression} stays false: {self.text()[:1000]}"
            threading.Event().wait(0.05)

    def text(self) -> str:
        return str(self.evaluate("document.body.innerText"))

    def click(self, selector: str) -> None:
        """Click with the mouse, which also works on pages without JavaScript."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
        corners = self.call("DOM.getBoxModel", nodeId=node)["model"]["content"]
        x, y = (corners[0] + corners[4]) / 2, (corners[1] + corners[5]) / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def choose_scheme(self, scheme: str) -> None:
        """scheme: "light" or "dark"."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path, width: int = 960) -> None:
        """Write the whole page as a PNG file."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        height = self.evaluate("document.documentElement.scrollHeight")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def events(self, method: str) -> list[Mapping[str, Any]]:
        """The events of one kind that the page has sent so far."""
        self.call("Runtime.evaluate", expression="0")
        return [
            event["params"]
            for event in self._browser.events
            if event.get("method") == method and event.get("sessionId") == self._session
        ]

    def errors(self) -> list[str]:
        """What the page has reported to its console: exceptions, blocked content, failed requests."""
        entries = [each["entry"]["text"] for each in self.events("Log.entryAdded") if each["entry"]["level"] == "error"]
        return entries + [str(each["exceptionDetails"]) for each in self.events("Runtime.exceptionThrown")]
