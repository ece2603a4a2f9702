"""The web page in a real browser, with a real job, and pages of other sites that attack it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from headless_browser import Browser, Tab, find_browser
from server_process import ServerProcess
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.client import RewasClient
from rewas_api.errors import JobFailed
from rewas_api.v1 import rewas_pb2
from rewas_server.web.links import make_link

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="needs Chromium; `scripts/dev/set_up.sh browser` installs it"),
]
PROMPT = "a square slides <b>down</b>"
REBOUND = "rebound.example"
SESSION_ENDED = "status of 401"
"""The console reports the page that asks for the token as a failed request."""

CONTRASTS = """
(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((each) => each / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return null;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const inks = [luminance(element.closest("svg") ? style.fill : style.color), luminance(ground(element))];
    const contrast = (Math.max(...inks) + 0.05) / (Math.min(...inks) + 0.05);
    found.push([contrast, element.tagName + ": " + element.textContent.trim().slice(0, 40)]);
  }
  for (const line of document.querySelectorAll("polyline")) {
    const inks = [luminance(getComputedStyle(line).stroke), luminance(ground(line))];
    // A line needs 3, a text 4.5: counted as if it were a text.
    found.push([1.5 * (Math.max(...inks) + 0.05) / (Math.min(...inks) + 0.05), "line " + line.getAttribute("class")]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("browser")
    (folder / "media").mkdir()
    write_video(folder / "media" / "shot.mp4")
    (folder / "media" / "text.mp4").write_text("this is text, not a video")
    write_untrained_pack(folder / "packs" / "tiny", seed=0)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        folder / "state",
        [folder / "media"],
        packs_dir=folder / "packs",
        default_pack="tiny",
        settings={"web_port": 0},
    ) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[RewasClient]:
    # The first request waits until the process that checks it has started.
    with RewasClient(server.address, timeout_s=50.0) as client:
        yield client


@pytest.fixture(scope="module")
def web_port(client: RewasClient) -> int:
    return client.get_server_info().web_port


@pytest.fixture(scope="module")
def finished_job(client: RewasClient, folder: Path) -> str:
    return client.wait(client.submit(work(folder)).id).id


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile", hosts=(REBOUND,)) as browser:
        yield browser


def work(folder: Path, name: str = "shot.mp4", steps: int = 2) -> rewas_pb2.SoundWork:
    time, rate = otio.opentime.RationalTime, float(FRAME_RATE)
    reference = otio.schema.ExternalReference(str(folder / "media" / name))
    clip = otio.schema.Clip("<i>shot</i>", reference, otio.opentime.TimeRange(time(0, rate), time(FRAMES, rate)))
    return rewas_pb2.SoundWork(
        clip_otio_json=clip.to_json_string(),
        settings=rewas_pb2.SoundSettings(prompt=PROMPT, seed=3, takes=2, num_inference_steps=steps),
    )


def open_page(browser: Browser, server: ServerProcess, web_port: int) -> Tab:
    tab = browser.new_tab()
    tab.open(make_link(web_port, server.token))
    tab.wait_for("document.getElementById('connection')?.textContent === 'Live'")
    return tab


def test_a_link_opens_a_live_page_whose_sounds_play(
    browser: Browser, server: ServerProcess, client: RewasClient, web_port: int, folder: Path, finished_job: str
) -> None:
    tab = open_page(browser, server, web_port)
    assert tab.evaluate("location.href") == f"http://127.0.0.1:{web_port}/"
    assert tab.evaluate("document.cookie") == ""
    history = tab.call("Page.getNavigationHistory")["entries"]
    assert all("#" not in entry["url"] or entry["url"].endswith("#") for entry in history), history
    assert PROMPT in tab.text()
    assert "<i>shot</i>" in tab.text()

    tab.evaluate(
        "window.marker = true; window.sound = document.querySelector('audio'); sound.loop = true; sound.muted = true;"
        "sound.play()"
    )
    tab.wait_for("sound.currentTime > 0.2")
    assert abs(tab.evaluate("sound.duration") - FRAMES / FRAME_RATE) < 0.01
    assert any(
        event["response"]["url"].endswith(".wav") and event["response"]["status"] in (200, 206)
        for event in tab.events("Network.responseReceived")
    )

    # A long job runs, another waits, and both show; the sound goes on meanwhile.
    running, waiting = client.submit(work(folder, steps=1000)), client.submit(work(folder))
    tab.wait_for("/step \\d+ of 1000/.test(document.getElementById('active').innerText)")
    tab.wait_for("document.querySelectorAll('#waiting tbody tr').length === 1")
    before = tab.wait_for("document.querySelector('#active progress').value")
    tab.wait_for(f"document.querySelector('#active progress').value > {before}")
    client.cancel(running.id)
    client.wait(waiting.id)
    with pytest.raises(JobFailed):
        client.wait(client.submit(work(folder, "text.mp4")).id)
    tab.wait_for("document.querySelectorAll('#results article').length === 4")
    assert tab.evaluate("window.marker && document.contains(window.sound) && !window.sound.paused")
    states = tab.evaluate("Array.from(document.querySelectorAll('.state'), (each) => each.textContent)")
    assert sorted(states) == ["Cancelled", "Failed", "Succeeded", "Succeeded"]
    assert "text.mp4" in tab.text()
    assert [error for error in tab.errors() if SESSION_ENDED not in error] == []


def test_texts_have_contrast_and_controls_have_names_in_both_schemes(
    browser: Browser, server: ServerProcess, web_port: int, finished_job: str
) -> None:
    tab = open_page(browser, server, web_port)
    grounds = []
    for scheme in ("light", "dark"):
        tab.choose_scheme(scheme)
        contrasts = tab.evaluate(CONTRASTS)
        assert len(contrasts) > 15
        assert [each for each in contrasts if each[0] < 4.5] == []
        grounds.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node["ignored"]]
    assert {"main", "heading", "status", "Audio"} <= set(roles)
    for node in nodes:
        if not node["ignored"] and node["role"]["value"] in ("Audio", "image", "progressbar", "button", "textbox"):
            assert node["name"]["value"], node
    # Nothing is cut off on a narrow screen.
    tab.call("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=False)
    assert tab.evaluate("document.documentElement.scrollWidth <= 360")


def test_the_page_works_without_javascript(
    browser: Browser, server: ServerProcess, web_port: int, finished_job: str
) -> None:
    tab = browser.new_tab()
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(f"http://127.0.0.1:{web_port}/")
    tab.click("#secret")
    tab.type(server.token)
    tab.click("button")
    tab.wait_for("document.querySelector('#server') !== null")
    assert PROMPT in tab.text()
    assert "Reload the page" in tab.text()
    assert tab.evaluate("document.querySelectorAll('audio').length") >= 2


def test_a_used_link_asks_for_the_token(browser: Browser, server: ServerProcess, web_port: int) -> None:
    link = make_link(web_port, server.token)
    first, second = browser.new_tab(), browser.new_tab()
    first.open(link)
    first.wait_for("document.getElementById('live') !== null")
    second.call("Network.clearBrowserCookies")
    second.open(link)
    second.wait_for("document.querySelector('[role=alert]') !== null")
    assert "used before" in second.text()
    assert second.evaluate("location.hash") == ""


@pytest.fixture
def other_site() -> Iterator[int]:
    """A page on another port of this machine. Yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>other</title><p>Another page.</p>")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield site.server_port
    site.shutdown()
    site.server_close()
    thread.join()


def test_other_pages_reach_nothing(
    browser: Browser, server: ServerProcess, web_port: int, other_site: int, finished_job: str
) -> None:
    own = open_page(browser, server, web_port)
    sound = own.evaluate("document.querySelector('audio').src")
    page = f"http://127.0.0.1:{web_port}"
    # The first one is of the same site, so the browser sends the cookie with its requests.
    for address in (f"http://127.0.0.1:{other_site}/", f"http://localhost:{other_site}/", "data:text/html,<p>null</p>"):
        tab = browser.new_tab()
        tab.open(address)
        attempts = [
            f"fetch('{page}/live').then((answer) => answer.status, () => 'blocked')",
            f"fetch('{page}/live', {{credentials: 'include'}}).then((answer) => answer.status, () => 'blocked')",
            f"fetch('{page}/session', {{method: 'POST', body: 'secret=x', mode: 'no-cors', credentials: 'include'}})"
            ".then((answer) => answer.type, () => 'blocked')",
            f"new Promise((end) => {{ const sound = new Audio('{sound}'); sound.onerror = () => end('blocked');"
            "sound.onloadedmetadata = () => end(sound.duration); sound.load(); })",
            f"new Promise((end) => {{ const tag = document.createElement('script'); tag.src = '{page}/page.js';"
            "tag.onload = () => end('loaded'); tag.onerror = () => end('blocked'); document.head.append(tag); })",
        ]
        for attempt in attempts:
            assert tab.evaluate(attempt) == "blocked", (address, attempt)
        tab.evaluate(
            "new Promise((end) => { const frame = document.createElement('iframe');"
            f"frame.src = '{page}/'; frame.onload = () => end(1); document.body.append(frame); }})"
        )
        assert PROMPT not in tab.text()
        refused = [
            event["response"]["status"]
            for event in tab.events("Network.responseReceived")
            if event["response"]["url"].startswith(page)
        ]
        assert set(refused) <= {403}, refused
        # A form posts without asking. Its answer is a page that says why it was refused.
        tab.evaluate(
            f"document.body.innerHTML = '<form method=post action={page}/session><input name=secret></form>';"
            "document.forms[0].submit()"
        )
        tab.wait_for("document.body.innerText.includes('Another page sent this request')")
        tab.open(address)
        tab.evaluate(f"location.href = '{page}/'")
        tab.wait_for("document.body.innerText.includes('Another page sent this request')")


def test_a_name_that_was_bound_to_this_machine_reaches_nothing(
    browser: Browser, server: ServerProcess, web_port: int, finished_job: str
) -> None:
    open_page(browser, server, web_port)
    tab = browser.new_tab()
    for path in ("/", "/live", f"/#{server.token}"):
        tab.open(f"http://{REBOUND}:{web_port}{path}")
        tab.wait_for("document.body.innerText.includes('Use the address')")
        assert PROMPT not in tab.text()
