"""The web page of a server that `rewas serve` has started: what it shows, and whom it refuses.

The server has its jobs from an earlier run. Requests go over real sockets.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

import pytest
import stored_jobs

from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.web.access import SECURITY_HEADERS
from rewas_server.web.connections import MAX_CONNECTIONS
from rewas_server.web.links import make_link
from rewas_server.web.site import MAX_BODY_BYTES

AUDIO = bytes(range(256)) * 400
HOSTILE_NAME = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
FORM = "application/x-www-form-urlencoded"
Response = tuple[int, Mapping[str, str], bytes]


def write_jobs(state: Path) -> None:
    """A sound with stems, one whose files were deleted, a timeline, an energy, a failed job, and a paused one."""
    store = SqliteJobStore(state / "jobs.sqlite3", state / "backups")
    stored_jobs.add(store, "sound", "deleted", "energy", "failed", "paused")
    stored_jobs.add_timeline(store, "timeline", clips=2)
    # The server deletes old jobs, so these have ended a moment ago.
    now_s = round(time.time()) - 60
    store.update("failed", lambda job: lifecycle.fail_job(job, stored_jobs.PROBLEM))
    for number, job_id in enumerate(("sound", "deleted", "energy", "timeline.1", "timeline.2", "timeline"), start=1):
        store.update(job_id, lambda job, at_s=now_s + number: succeeded(job, at_s))
    store.update("paused", paused)
    store.close()
    (state / "artifacts" / "sound").mkdir(parents=True)
    (state / "artifacts" / "sound" / "growl 1.wav").write_bytes(AUDIO)
    (state / "artifacts" / "sound" / "unlisted.wav").write_bytes(b"unlisted")
    (state / "artifacts" / "sound" / "linked.wav").symlink_to(state / "jobs.sqlite3")
    (state / "artifacts" / "deleted").mkdir()


def succeeded(job: rewas_pb2.Job, at_s: int) -> rewas_pb2.Job:
    after = rewas_pb2.Job()
    after.CopyFrom(job)
    after.state, after.fraction = rewas_pb2.JOB_STATE_SUCCEEDED, 1.0
    after.finished_at.FromSeconds(at_s)
    if job.id == "energy":
        after.energy.energy.CopyFrom(curve(-3.0))
    elif job.id == "timeline":
        after.timeline.clips.add(name="first clip", job_id="timeline.1").sound.CopyFrom(sound(HOSTILE_NAME))
        broken = after.timeline.clips.add(name="second clip", job_id="timeline.2").problem
        broken.what, broken.remedy = "The clip is torn.", "Export it again."
    else:
        after.sound.CopyFrom(sound("a bear growls"))
        after.files_deleted = job.id == "deleted"
    return after


def paused(job: rewas_pb2.Job) -> rewas_pb2.Job:
    after = rewas_pb2.Job()
    after.CopyFrom(job)
    after.state, after.name = rewas_pb2.JOB_STATE_PAUSED, HOSTILE_NAME
    return after


def sound(prompt: str) -> rewas_pb2.SoundResult:
    result = rewas_pb2.SoundResult(requested_energy=curve(-4.0))
    result.settings.prompt = prompt
    result.notes.add(text="The frames show little motion.")
    for seed in (7, 8):
        take = result.takes.add(seed=seed, output_energy=curve(-3.5), energy_mae_nats=0.5, energy_correlation=0.9)
        take.faults.append(rewas_pb2.TAKE_FAULT_CLIPPED)
        for number in range(9):
            take.recordings.add(name=f"{HOSTILE_NAME} {number}.wav", licence="CC-BY-4.0", credit="H. Smith")
        take.stems.add(role="primary", artifact=rewas_pb2.Artifact(name="growl 1.wav", size_bytes=len(AUDIO)))
        take.stems.add(role="mix", artifact=rewas_pb2.Artifact(name="linked.wav", size_bytes=1))
    return result


def curve(level: float) -> rewas_pb2.EnergyCurve:
    return rewas_pb2.EnergyCurve(
        rate_hz=rewas_pb2.Rational(numerator=20, denominator=1), values=[level + index % 3 for index in range(60)]
    )


class Tags(HTMLParser):
    """The names of the tags of a page, and of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


class WebServer:
    """`rewas serve --web-port 0` in a process."""

    def __init__(self, folder: Path) -> None:
        self.state_dir = folder / "state"
        self._terminal = folder / "terminal.txt"
        self._errors: IO[str] = self._terminal.open("w")
        packs = folder / "no packs"
        packs.mkdir()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CONFIG_HOME": str(folder), "REWAS_PACKS": str(packs)}
        arguments = ["--port", "0", "--web-port", "0", "--state-dir", str(self.state_dir)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rewas_cli.main", "serve", *arguments], stderr=self._errors, env=environment
        )
        self.port = int(self._read(r"listens on 127\.0\.0\.1:(\d+)"))
        self.link = self._read(r"Open (http\S+) once")
        self.web_port = int(self._read(r"Open http://127\.0\.0\.1:(\d+)/"))
        self.token = (self.state_dir / "token").read_text().strip()
        self.cookie = self.open_session(self.token)

    def _read(self, pattern: str) -> str:
        while self._process.poll() is None:
            found = re.search(pattern, self._terminal.read_text())
            if found:
                return found[1]
        raise AssertionError(self._terminal.read_text())

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(55) == 0
        self._errors.close()

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | str | None = None
    ) -> Response:
        """One request, with exactly these headers and those that HTTP needs."""
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=30)
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, dict(response.headers), content

    def get(self, path: str, **headers: str) -> Response:
        """A request with a valid cookie."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", path, {"Cookie": self.cookie} | named)

    def post_secret(self, secret: str, headers: Mapping[str, str] | None = None) -> Response:
        return self.request(
            "POST", "/session", {"Content-Type": FORM} | dict(headers or {}), urlencode({"secret": secret})
        )

    def open_session(self, secret: str) -> str:
        status, headers, _ = self.post_secret(secret)
        assert (status, headers["Location"]) == (303, "/")
        return headers["Set-Cookie"].partition(";")[0]

    def raw(self, data: bytes) -> bytes:
        """Everything that the server answers to these bytes until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.web_port), timeout=30) as connection:
            connection.sendall(data)
            answer = b""
            while part := connection.recv(65536):
                answer += part
            return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("web")
    write_jobs(folder / "state")
    server = WebServer(folder)
    yield server
    server.stop()


PATHS = ["/", "/live", "/jobs/sound/audio/growl%201.wav", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "cookie", ["", "rewas-{port}=", "rewas-{port}=wrong", "rewas-{port}={token}", "other={cookie}"]
)
def test_nothing_is_shown_without_a_session(server: WebServer, path: str, cookie: str) -> None:
    value = server.cookie.partition("=")[2]
    cookie = cookie.format(port=server.web_port, token=server.token, cookie=value)
    status, _, body = server.request("GET", path, {"Cookie": cookie} if cookie else {})
    assert status == 401
    assert b"bear" not in body
    assert b"shot" not in body
    assert (b"<form" in body) == (path == "/")


def test_the_token_in_the_address_or_in_a_header_opens_nothing(server: WebServer) -> None:
    for path in (f"/?token={server.token}", f"/?{server.token}", f"/{server.token}"):
        assert server.request("GET", path)[0] == 401
    assert server.request("GET", "/live", {"Authorization": f"Bearer {server.token}"})[0] == 401


@pytest.mark.parametrize("path", ["/page.css", "/page.js", "/icon.svg"])
def test_files_that_say_nothing_about_jobs_need_no_session(server: WebServer, path: str) -> None:
    assert server.request("GET", path)[0] == 200


HOSTS = [
    "evil.example", "evil.example:{port}", "127.0.0.1", "localhost", "127.0.0.1:1", "127.0.0.1:{port}.evil.example",
    "localhost:{port}@evil.example", "evil.example, 127.0.0.1:{port}", "0.0.0.0:{port}", "[::1]:{port}", "127.1:{port}",
    "127.0.0.1:0{port}", "localhost.:{port}", "", " ",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/page.js", "/live"])
def test_other_hosts_are_refused(server: WebServer, host: str, path: str) -> None:
    status, _, body = server.get(path, Host=host.format(port=server.web_port))
    assert status in (400, 403)
    assert b"bear" not in body


def test_other_hosts_cannot_post_the_token(server: WebServer) -> None:
    status, headers, _ = server.post_secret(server.token, {"Host": f"rebound.example:{server.web_port}"})
    assert status == 403
    assert "Set-Cookie" not in headers


def test_a_request_without_one_host_is_refused(server: WebServer) -> None:
    host = f"Host: 127.0.0.1:{server.web_port}\r\n"
    for hosts in ("", host + host, host + "Host: evil.example\r\n", "Host: evil.example\r\n" + host):
        for version in ("1.0", "1.1"):
            request = f"GET / HTTP/{version}\r\n{hosts}Cookie: {server.cookie}\r\nConnection: close\r\n\r\n"
            answer = server.raw(request.encode())
            assert answer.split()[1] in (b"400", b"403"), answer
            assert b"bear" not in answer


def test_an_absolute_address_in_the_request_does_not_replace_the_host(server: WebServer) -> None:
    lines = [f"GET http://127.0.0.1:{server.web_port}/live HTTP/1.1", "Host: evil.example", f"Cookie: {server.cookie}"]
    answer = server.raw("\r\n".join([*lines, "Connection: close", "", ""]).encode())
    assert answer.split()[1] in (b"400", b"403")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost"])
def test_both_names_of_this_machine_are_served(server: WebServer, host: str) -> None:
    assert server.get("/", Host=f"{host}:{server.web_port}")[0] == 200


ORIGINS = [
    "null", "", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "https://127.0.0.1:{port}",
    "http://localhost:{port}", "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}/", "file://",
    "HTTP://127.0.0.1:{port}", "http://evil.example http://127.0.0.1:{port}",
]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_other_origins_are_refused(server: WebServer, origin: str) -> None:
    origin = origin.format(port=server.web_port)
    assert server.get("/live", Origin=origin)[0] == 403
    status, headers, _ = server.post_secret(server.token, {"Origin": origin})
    assert status == 403
    assert "Set-Cookie" not in headers


def test_the_own_origin_is_served(server: WebServer) -> None:
    own = f"http://127.0.0.1:{server.web_port}"
    assert server.get("/live", Origin=own)[0] == 200
    assert server.post_secret(server.token, {"Origin": own})[0] == 303
    twice = f"GET / HTTP/1.1\r\nHost: {own[7:]}\r\nCookie: {server.cookie}\r\nConnection: close\r\n"
    answer = server.raw(f"{twice}Origin: {own}\r\nOrigin: http://evil.example\r\n\r\n".encode())
    assert answer.split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("", 403), ("same-origin", 200), ("none", 200)]
)
def test_requests_that_other_pages_send_are_refused(server: WebServer, site: str, status: int) -> None:
    assert server.get("/live", Sec_Fetch_Site=site)[0] == status
    assert server.get("/jobs/sound/audio/growl%201.wav", Sec_Fetch_Site=site)[0] == status
    posted = server.post_secret(server.token, {"Sec-Fetch-Site": site})[0]
    assert posted == (303 if status == 200 else 403)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"])
@pytest.mark.parametrize("path", PATHS)
def test_only_reading_is_allowed(server: WebServer, method: str, path: str) -> None:
    request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.web_port}\r\nCookie: {server.cookie}\r\n"
    answer = server.raw(f"{request}Connection: close\r\nContent-Length: 0\r\n\r\n".encode())
    status = answer.split()[1]
    # The parser of HTTP itself refuses CONNECT, which names no path.
    assert status == b"405" or (method == "CONNECT" and status == b"400"), answer
    if status == b"405":
        assert b"\r\nAllow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_the_token_is_only_posted(server: WebServer, method: str) -> None:
    status, headers, _ = server.request(method, f"/session?secret={server.token}", {"Cookie": server.cookie})
    assert (status, headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("change", [lambda token: "", lambda token: token[:-1], lambda token: token + "x", str.upper])
def test_a_wrong_token_opens_nothing(server: WebServer, change: Any) -> None:
    status, headers, body = server.post_secret(change(server.token))
    assert status == 401
    assert "Set-Cookie" not in headers
    assert b"The token is wrong" in body


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "multipart/form-data; boundary=x"])
def test_only_a_form_is_read(server: WebServer, content_type: str) -> None:
    assert server.post_secret(server.token, {"Content-Type": content_type})[0] == 415


def test_the_cookie_is_kept_from_scripts_and_other_sites(server: WebServer) -> None:
    _, headers, body = server.post_secret(server.token)
    attributes = {each.strip().lower() for each in headers["Set-Cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert not any(each.startswith("domain") for each in attributes)
    assert server.token not in headers["Set-Cookie"]
    assert server.token.encode() not in body


def test_the_printed_link_opens_the_page_once_and_is_in_no_log(server: WebServer) -> None:
    code = server.link.partition("#")[2]
    cookie = server.open_session(code)
    assert server.request("GET", "/", {"Cookie": cookie})[0] == 200
    assert server.post_secret(code)[0] == 401
    log = (server.state_dir / "logs" / "server.jsonl").read_text()
    assert json.loads(log.splitlines()[0])
    assert code not in log
    assert server.token not in log


def test_rewas_status_prints_another_link(server: WebServer) -> None:
    command = [sys.executable, "-m", "rewas_cli.main", "status", "--web", "--server", f"127.0.0.1:{server.port}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=55).stdout.strip()
    assert printed.startswith(f"http://127.0.0.1:{server.web_port}/#")
    assert server.open_session(printed.partition("#")[2])


@pytest.mark.parametrize("change", ["token", "time", "nonce", "signature", "port-like"])
def test_forged_links_open_nothing(server: WebServer, change: str) -> None:
    issued, nonce, signature = make_link(1, server.token).partition("#")[2].split(".")
    forged = {
        "token": make_link(1, "another token").partition("#")[2],
        "time": f"{int(issued) + 1}.{nonce}.{signature}",
        "nonce": f"{issued}.{nonce[:-1]}z.{signature}",
        "signature": f"{issued}.{nonce}.{signature[:-1]}",
        "port-like": f"{issued}.{nonce}.{signature}.1",
    }[change]
    assert server.post_secret(forged)[0] == 401


@pytest.mark.parametrize("path", [*PATHS, "/page.js", "/session", "/jobs/sound/audio/none"])
@pytest.mark.parametrize("has_session", [False, True])
def test_each_answer_carries_the_headers_that_protect_it(server: WebServer, path: str, has_session: bool) -> None:
    _, headers, _ = server.request("GET", path, {"Cookie": server.cookie} if has_session else {})
    assert {name: headers.get(name) for name in SECURITY_HEADERS} == dict(SECURITY_HEADERS)
    assert "Access-Control-Allow-Origin" not in headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_the_page_shows_what_the_server_has(server: WebServer) -> None:
    status, headers, body = server.get("/")
    text = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    shown = [
        "a bear growls", "The frames show little motion.", "The sound is clipped.", "The picture is torn.",
        "Take another.", "first clip", "Export it again.", "were deleted to make room", "correlation 0.90",
    ]  # fmt: skip
    assert [each for each in shown if each not in text] == []
    assert 'src="/jobs/sound/audio/growl%201.wav"' in text
    assert "/jobs/deleted/" not in text
    assert text.count('<polyline class="requested"') == text.count('<polyline class="produced"') == 6
    assert text.count('<polyline class="energy"') == 1
    assert server.get("/live")[2].decode().strip() in text


def test_names_and_prompts_are_text(server: WebServer) -> None:
    text = server.get("/")[2].decode()
    assert "&lt;script&gt;alert(1)" in text
    assert re.findall(r"<script[^>]*>", text) == ['<script src="/page.js" defer>']
    # What the policy would block is not used: styles and handlers inside of tags.
    tags = Tags()
    tags.feed(text)
    assert "style" not in tags.names
    assert not any(name == "style" or name.startswith("on") for name in tags.attributes)
    assert re.findall(r"(?:https?:)?//[^\s\"'<]+", text) == []


def test_the_recordings_of_a_take_are_named_with_their_terms(server: WebServer) -> None:
    page = server.get("/live")[2].decode()
    assert " 7.wav, CC-BY-4.0, H. Smith</bdi></li><li>and 1 more</li>" in page
    assert " 8.wav" not in page


def test_an_unchanged_page_is_not_sent_again(server: WebServer) -> None:
    for _ in range(20):
        _, headers, _ = server.get("/live")
        status, _, body = server.get("/live", If_None_Match=headers["ETag"])
        if (status, body) == (304, b""):
            return
    raise AssertionError("the page changes with each request")


@pytest.mark.parametrize(
    "name",
    [
        "../jobs.sqlite3", "../../token", "..%2f..%2ftoken", "%2e%2e%2f%2e%2e%2ftoken", "..", ".", "%2e%2e", "",
        "growl%201.wav%00", "growl%201.wav/", "unlisted.wav", "linked.wav", "/etc/passwd", "%2fetc%2fpasswd",
        "..%5ctoken", "growl%25201.wav", "x" * 1000,
    ],
)  # fmt: skip
def test_only_listed_files_of_a_job_are_sent(server: WebServer, name: str) -> None:
    for prefix in ("/jobs/sound/audio/", "/jobs/../audio/", "/jobs/%2e%2e/audio/", "/jobs/deleted/audio/"):
        answer = server.raw(
            f"GET {prefix}{name} HTTP/1.1\r\nHost: 127.0.0.1:{server.web_port}\r\n"
            f"Cookie: {server.cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.split()[1] in (b"400", b"404"), (prefix, name)
        assert server.token.encode() not in answer
        assert b"SQLite" not in answer


def test_ranges_of_a_sound(server: WebServer) -> None:
    path, size = "/jobs/sound/audio/growl%201.wav", len(AUDIO)
    status, headers, body = server.get(path)
    assert (status, headers["Content-Type"], headers["Accept-Ranges"], body) == (200, "audio/wav", "bytes", AUDIO)
    for sent, wanted in (
        ("0-", AUDIO),
        ("1000-1999", AUDIO[1000:2000]),
        ("-7", AUDIO[-7:]),
        (f"5-{size * 2}", AUDIO[5:]),
    ):
        status, headers, body = server.get(path, Range=f"bytes={sent}")
        assert (status, body) == (206, wanted)
        assert headers["Content-Range"].endswith(f"/{size}")
    assert server.get(path, Range=f"bytes={size}-")[0] == 416
    status, headers, body = server.request("HEAD", path, {"Cookie": server.cookie})
    assert (status, headers["Content-Length"], body) == (200, str(size), b"")


def test_large_requests_are_refused(server: WebServer) -> None:
    assert server.post_secret("x" * MAX_BODY_BYTES)[0] == 413
    start = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.web_port}\r\nConnection: close\r\n".encode()
    for data in (
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        start + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        start + b"".join(b"X-%d: 1\r\n" % number for number in range(1000)) + b"\r\n",
    ):
        assert server.raw(data).split()[1] in (b"400", b"414", b"431")
    chunked = f"POST /session HTTP/1.1\r\nHost: 127.0.0.1:{server.web_port}\r\nContent-Type: {FORM}\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer = server.raw(f"{chunked}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + chunk)
    assert answer.split()[1] == b"413"


def test_malformed_requests_do_not_disturb_the_server(server: WebServer) -> None:
    for data in (
        b"\r\n\r\n",
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\0",
        b"\xff" * 999,
    ):
        answer = server.raw(data + b"\r\n\r\n")
        assert answer.split()[1:2] in ([b"400"], [b"403"], []), answer
        assert b"Traceback" not in answer
    assert server.get("/")[0] == 200


def test_connections_are_limited(server: WebServer) -> None:
    opened = [socket.create_connection(("127.0.0.1", server.web_port), timeout=30) for _ in range(MAX_CONNECTIONS + 8)]
    try:
        with pytest.raises(OSError):
            server.get("/")
    finally:
        for each in opened:
            each.close()
    # The server learns of the closed connections in its own time.
    for _ in range(600):
        try:
            assert server.get("/")[0] == 200
            return
        except (OSError, http.client.HTTPException):
            threading.Event().wait(0.05)
    raise AssertionError("the server does not recover")


def test_only_loopback_listens(server: WebServer) -> None:
    port = f"{server.web_port:04X}"
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port}")
    ]
    assert listening == [f"0100007F:{port}"]


def test_quoted_names_of_artifacts_are_found(server: WebServer) -> None:
    assert server.get(f"/jobs/sound/audio/{quote('growl 1.wav')}")[0] == 200
