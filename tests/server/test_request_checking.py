"""Requests are read in separate processes: hostile ones get a sentence, and the server continues."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import opentimelineio as otio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.checking.checker import SHORT_REQUEST_BYTES, CheckingLimits, RequestChecker
from rewas_server.checking.messages import CheckingSettings, Frame
from rewas_server.checking.process import CheckingProcess
from rewas_server.otio.names import MAX_NAME_CHARACTERS
from rewas_server.work import limits
from rewas_server.work.requests import parse_request

ResultT = TypeVar("ResultT")
SHORT, LONG = CheckingLimits(60.0, 1024**3), CheckingLimits(60.0, 2 * 1024**3)


def clip(name: str = "shot", url: str = "/media/a.mov", **metadata: Any) -> dict[str, Any]:
    """The OTIO JSON of a clip as a dictionary."""
    time = otio.opentime.RationalTime
    span = otio.opentime.TimeRange(time(0, 24), time(24, 24))
    made = otio.schema.Clip(name, otio.schema.ExternalReference(url), span)
    return json.loads(made.to_json_string()) | {"metadata": metadata}


def timeline(*clips: dict[str, Any], name: str = "reel", **metadata: Any) -> str:
    made = otio.schema.Timeline("reel")
    made.tracks.append(otio.schema.Track("V1", kind=otio.schema.TrackKind.Video))
    document = json.loads(made.to_json_string()) | {"metadata": metadata, "name": name}
    document["tracks"]["children"][0]["children"] = list(clips)
    return json.dumps(document)


def energy_request(otio_json: str, **fields: Any) -> rewas_pb2.SubmitJobRequest:
    work = rewas_pb2.EnergyWork(clip_otio_json=otio_json, **fields)
    return rewas_pb2.SubmitJobRequest(idempotency_key="a", energy=work)


def timeline_request(otio_json: str, **fields: Any) -> rewas_pb2.SubmitJobRequest:
    work = rewas_pb2.TimelineWork(timeline_otio_json=otio_json)
    return rewas_pb2.SubmitJobRequest(idempotency_key="a", timeline=work, **fields)


class Checking:
    """A RequestChecker with an event loop that stays the same over several tests."""

    def __init__(self, folder: Path, short: CheckingLimits = SHORT, long: CheckingLimits = LONG) -> None:
        self._runner = asyncio.Runner()
        self.checker = RequestChecker(
            lambda limits: CheckingSettings(
                (folder,), folder / "uploads", "starter", limits.time_s, limits.memory_bytes
            ),
            short,
            long,
        )

    def run(self, act: Callable[[RequestChecker], Awaitable[ResultT]]) -> ResultT:
        async def act_in_loop() -> ResultT:
            return await act(self.checker)

        return self._runner.run(act_in_loop())

    def check(self, request: rewas_pb2.SubmitJobRequest) -> Any:
        return self.run(lambda checker: checker.check(request.SerializeToString()))

    def refusal(self, request: rewas_pb2.SubmitJobRequest) -> ProblemError:
        with pytest.raises(ProblemError) as refused:
            self.check(request)
        assert refused.value.what.endswith((".", "…", ")"))
        assert refused.value.remedy
        return refused.value

    def close(self) -> None:
        self.run(lambda checker: checker.stop())
        self._runner.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    (folder / "a.mov").write_bytes(b"picture")
    return folder


@pytest.fixture(scope="module")
def checking(folder: Path) -> Any:
    made = Checking(folder)
    yield made
    made.close()


def test_a_request_is_checked_with_its_media_and_pack(checking: Checking, folder: Path) -> None:
    url = str(folder / "a.mov")
    checked = checking.check(energy_request(json.dumps(clip("shot 7", url))))
    assert (checked.kind, checked.name, checked.packs, checked.children) == ("energy", "shot 7", {""}, ())
    missing = checking.refusal(energy_request(json.dumps(clip("shot 7", str(folder / "gone.mov")))))
    assert (missing.kind, "shot 7" in missing.what) == (ProblemKind.MEDIA, True)
    outside = checking.refusal(energy_request(json.dumps(clip("shot 7", "/etc/passwd"))))
    assert outside.kind is ProblemKind.PERMISSION
    absent = checking.refusal(energy_request(json.dumps(clip("shot 7", url)), pack="absent"))
    assert (absent.kind, "absent" in absent.what) == (ProblemKind.PACK, True)


def test_a_project_folder_can_hold_the_media(checking: Checking, tmp_path: Path) -> None:
    (tmp_path / "b.mov").write_bytes(b"picture")
    request = energy_request(json.dumps(clip("shot", str(tmp_path / "b.mov"))))
    assert checking.refusal(request).kind is ProblemKind.PERMISSION
    request.project_folders.append(str(tmp_path))
    assert checking.check(request).name == "shot"


def test_a_timeline_becomes_one_request_for_each_clip(checking: Checking, folder: Path) -> None:
    clips = [clip(name, str(folder / "a.mov"), rewas={"prompt": "rain"}) for name in ("a", "b")]
    request = timeline_request(timeline(*clips), priority=rewas_pb2.PRIORITY_BATCH, project_folders=[str(folder)])
    checked = checking.check(request)
    assert (checked.kind, checked.name) == ("timeline", "reel")
    assert [child.name for child in checked.children] == ["a", "b"]
    for number, child in enumerate(checked.children, start=1):
        assert child.request.priority == rewas_pb2.PRIORITY_BATCH
        assert list(child.request.project_folders) == [str(folder)]
        parsed = parse_request(child.request)
        assert parsed.timeline_number == number
        assert parsed.settings.seed is not None


def test_a_timeline_is_assembled(checking: Checking, folder: Path, tmp_path: Path) -> None:
    request = timeline_request(timeline(clip("a", str(folder / "a.mov"), rewas={"prompt": "rain"})))
    (child,) = checking.check(request).children
    artifact = {"name": "a.wav", "path": "/stems/a.wav"}
    stem = rewas_pb2.Stem(role="primary", artifact=artifact, sample_rate_hz=48000, samples=48000)
    sound = rewas_pb2.SoundResult(takes=[{"seed": 7, "stems": [stem]}], settings=child.request.sound.settings)
    outcome = rewas_pb2.TimelineClip(name="a", job_id="1", sound=sound)
    outcomes = tmp_path / "clips"
    outcomes.write_bytes(rewas_pb2.TimelineResult(clips=[outcome]).SerializeToString())
    result = checking.run(lambda checker: checker.assemble(request, outcomes))
    assert [(each.name, each.job_id, each.HasField("sound")) for each in result.clips] == [("a", "1", True)]
    assert '"a.wav"' in result.timeline_otio_json
    assert b"/stems" not in result.SerializeToString()


CYCLE = {"OTIO_SCHEMA": "SerializableObjectRef.1", "id": "a"}
NESTED = 200_000
HOSTILE = {
    "open brackets": "[" * NESTED,
    "open objects": '{"a":' * NESTED,
    "deep metadata": json.dumps(clip()).replace('"metadata": {}', '"metadata": {"a":' + "[" * 900 + "]" * 900 + "}", 1),
    "NaN": json.dumps(clip() | {"source_range": {"OTIO_SCHEMA": "TimeRange.1", "start_time": float("nan")}}),
    "a rate of NaN": json.dumps(clip()).replace("24.0", "NaN"),
    "infinite times": json.dumps(clip()).replace("24.0", "1e999"),
    "a long number": json.dumps(clip()).replace("24.0", "9" * 100_000),
    "a large array": json.dumps(clip(a=[0] * 600_000)),
    "empty objects": json.dumps(clip(a=[{}] * 400_000)),
    "many keys": json.dumps(clip(**{str(number): 1 for number in range(100_000)})),
    "a cycle": json.dumps(clip() | {"OTIO_REF_ID": "a", "effects": [CYCLE]}),
    "a cycle in metadata": json.dumps(clip(x=CYCLE) | {"OTIO_REF_ID": "a"}),
    "no text": "",
    "zeros": "\0" * 1000,
    "a lone surrogate": '{"OTIO_SCHEMA": "Clip.2", "name": "\\ud800"}',
    "another schema": '{"OTIO_SCHEMA": "Timeline.1"}',
    "a newer schema": '{"OTIO_SCHEMA": "Clip.99"}',
}


@pytest.mark.parametrize("otio_json", HOSTILE.values(), ids=HOSTILE)
def test_hostile_clips_get_an_answer_and_the_next_request_too(checking: Checking, folder: Path, otio_json: str) -> None:
    for request in (energy_request(otio_json), timeline_request(otio_json)):
        # The media of these clips lie outside the allowed folder, so even a readable one is refused.
        problem = checking.refusal(request)
        assert problem.kind in (ProblemKind.TIMELINE, ProblemKind.PERMISSION, ProblemKind.RESOURCES), problem
    assert checking.check(energy_request(json.dumps(clip("after", str(folder / "a.mov"))))).name == "after"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["Clip.2", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["OTIO_SCHEMA", "OTIO_REF_ID", "id", "name", "children", "metadata", "source_range", "rewas"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(key=st.sampled_from(sorted(clip())), value=json_values, of_timeline=st.booleans())
def test_no_change_of_a_clip_is_a_bug_or_ends_the_process(
    checking: Checking, key: str, value: object, of_timeline: bool
) -> None:
    changed = clip(rewas={"prompt": "rain"}) | {key: value}
    request = timeline_request(timeline(changed)) if of_timeline else energy_request(json.dumps(changed))
    if not checking.checker.process_ids:
        checking.refusal(energy_request("{}"))  # starts the process
    before = checking.checker.process_ids
    problem = checking.refusal(request)  # the media cannot be read
    assert problem.kind is not ProblemKind.INTERNAL, problem
    assert checking.checker.process_ids == before


def sized_otio(size_bytes: int) -> str:
    document = json.dumps(clip())
    return document.replace('"metadata": {}', '"metadata": {"a": "' + "x" * (size_bytes - len(document) - 7) + '"}', 1)


def test_long_clips_and_timelines_are_refused_with_the_limit(checking: Checking, folder: Path) -> None:
    fits, too_long = sized_otio(limits.MAX_CLIP_OTIO_BYTES), sized_otio(limits.MAX_CLIP_OTIO_BYTES + 100_000)
    assert checking.refusal(energy_request(fits)).kind is ProblemKind.PERMISSION
    for request in (
        energy_request(too_long),
        rewas_pb2.SubmitJobRequest(conflict={"clip_otio_json": too_long, "prompt": "rain"}),
        rewas_pb2.SubmitJobRequest(sound={"clip_otio_json": too_long, "settings": {"prompt": "rain"}}),
        energy_request("ä" * (limits.MAX_CLIP_OTIO_BYTES // 2 + 1)),
    ):
        problem = checking.refusal(request)
        assert (problem.kind, "the limit is 2 MB" in problem.what) == (ProblemKind.TIMELINE, True), problem
    # Only the work of a timeline may be longer, and the limit is checked before the text is read.
    problem = checking.refusal(timeline_request("x" * (limits.MAX_TIMELINE_OTIO_BYTES + 1)))
    assert (problem.kind, "the limit is 64 MB" in problem.what) == (ProblemKind.TIMELINE, True), problem


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (energy_request(json.dumps(clip(url="/" + "a" * 5000))), "has 5001 characters; the limit is 4096"),
        (energy_request(json.dumps(clip()), uploaded_media={"/" + "a" * 5000: "1" * 64}), "an uploaded file has 5001"),
        (energy_request(json.dumps(clip()), pack="p" * 201), "The pack name has 201 characters"),
        (energy_request(json.dumps(clip()), energy={"edits": ["x" * 1001]}), "An energy edit has 1001"),
        (energy_request(json.dumps(clip()), energy={"edits": ["smooth 0.2"] * 1001}), "There are 1001 edits"),
        (
            energy_request(json.dumps(clip()), energy={"points": {"points": [{}] * 100_001}}),
            "has 100001 energy points; the limit is 100000",
        ),
        (energy_request(json.dumps(clip()), uploaded_media={str(n): "" for n in range(10_001)}), "10001 uploaded"),
        (
            rewas_pb2.SubmitJobRequest(
                sound={
                    "clip_otio_json": json.dumps(clip()),
                    "settings": {"prompt": "rain", "layers": [{"name": f"l{n}", "prompt": "w"} for n in range(9)]},
                }
            ),
            "9 layers; the limit is 8",
        ),
        (
            timeline_request(timeline(clip()), project_folders=["/a"] * 65),
            "65 project folders; the limit is 64",
        ),
        (timeline_request(timeline(clip()), project_folders=["/" + "a" * 5000]), "A project folder has 5001"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_everything_in_a_request_has_a_limit(request_: rewas_pb2.SubmitJobRequest, what: str) -> None:
    with pytest.raises(ProblemError, match=r"has|limit|edits") as refused:
        parse_request(request_)
    assert what in refused.value.what
    assert len(str(refused.value)) < 600


def test_long_names_are_shortened(checking: Checking, folder: Path) -> None:
    long_name, shown = "n" * 1_900_000, "n" * (MAX_NAME_CHARACTERS - 1) + "…"
    url = str(folder / "a.mov")
    assert checking.check(energy_request(json.dumps(clip(long_name, url)))).name == shown
    checked = checking.check(timeline_request(timeline(clip(long_name, url, rewas={"prompt": "rain"}), name=long_name)))
    assert (checked.name, checked.children[0].name) == (shown, shown)
    assert len(checked.children[0].request.sound.clip_otio_json) < 3000
    problem = checking.refusal(energy_request(json.dumps(clip(long_name, "/elsewhere/a.mov"))))
    assert len(problem.what) < 600


def test_answers_belong_to_their_requests(checking: Checking, folder: Path) -> None:
    names = [f"shot {number}" for number in range(40)]

    async def check_all(checker: RequestChecker) -> list[str]:
        url = str(folder / "a.mov")
        requests = [energy_request(json.dumps(clip(name, url))).SerializeToString() for name in names]
        return [checked.name for checked in await asyncio.gather(*map(checker.check, requests))]

    assert checking.run(check_all) == names


def test_a_process_that_dies_is_replaced(checking: Checking, folder: Path) -> None:
    request = energy_request(json.dumps(clip("shot", str(folder / "a.mov"))))
    checking.check(request)
    (before,) = checking.checker.process_ids
    os.kill(before, signal.SIGKILL)
    assert checking.check(request).name == "shot"
    (after,) = checking.checker.process_ids
    assert after != before


def test_a_request_that_ends_each_process_is_refused(
    checking: Checking, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = energy_request(json.dumps(clip("shot", str(folder / "a.mov"))))
    ask = CheckingProcess.ask

    def die(self: CheckingProcess, question: Frame) -> Frame:
        os.kill(self.pid, signal.SIGSEGV)
        return ask(self, question)

    with monkeypatch.context() as patch:
        patch.setattr(CheckingProcess, "ask", die)
        problem = checking.refusal(request)
    assert problem.kind is ProblemKind.TIMELINE
    assert "ended by the signal SIGSEGV" in problem.what
    assert checking.check(request).name == "shot"


def test_a_request_that_takes_too_long_is_refused(folder: Path) -> None:
    request = energy_request(json.dumps(clip("shot", str(folder / "a.mov"))))
    checking = Checking(folder, short=CheckingLimits(1.0, 1024**3))
    try:
        checking.run(lambda checker: checker.start())
        (stopped,) = checking.checker.process_ids
        os.kill(stopped, signal.SIGSTOP)
        problem = checking.refusal(request)
        assert (problem.kind, "takes longer than 1 s" in problem.what) == (ProblemKind.TIMELINE, True)
        assert not Path(f"/proc/{stopped}").exists()
    finally:
        checking.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space reliably")
def test_a_request_that_takes_too_much_memory_is_refused(folder: Path) -> None:
    checking = Checking(folder, short=CheckingLimits(60.0, 48 * 1024**2))
    try:
        metadata = "[" + "[[],[]]," * (limits.MAX_CLIP_OTIO_BYTES // 8 - 100) + "0]"
        problem = checking.refusal(energy_request(json.dumps(clip(a=0)).replace('"a": 0', f'"a": {metadata}')))
        assert problem.kind is ProblemKind.RESOURCES
        assert "GB of memory" in problem.what
        assert checking.check(energy_request(json.dumps(clip("after", str(folder / "a.mov"))))).name == "after"
    finally:
        checking.close()


def test_a_long_request_does_not_delay_short_ones(
    checking: Checking, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(folder / "a.mov")
    long = timeline_request(timeline(clip("a", url, rewas={"prompt": "rain"}), padding="x" * SHORT_REQUEST_BYTES))
    short = energy_request(json.dumps(clip("short", url)))
    stopped: queue.SimpleQueue[int] = queue.SimpleQueue()
    ask = CheckingProcess.ask

    def ask_slowly(self: CheckingProcess, question: Frame) -> Frame:
        if len(question.parts[0]) > SHORT_REQUEST_BYTES:
            os.kill(self.pid, signal.SIGSTOP)
            stopped.put(self.pid)
        return ask(self, question)

    async def check_both(checker: RequestChecker) -> tuple[str, str]:
        waiting = asyncio.create_task(checker.check(long.SerializeToString()))
        process_id = await asyncio.to_thread(stopped.get)
        try:
            name = (await checker.check(short.SerializeToString())).name
            assert not waiting.done()
        finally:
            os.kill(process_id, signal.SIGCONT)
        return name, (await waiting).name

    with monkeypatch.context() as patch:
        patch.setattr(CheckingProcess, "ask", ask_slowly)
        assert checking.run(check_both) == ("short", "reel")
    # The memory of a long request is returned with its process.
    assert len(checking.checker.process_ids) == 1


def test_a_stopped_checker_refuses_requests_and_leaves_no_process(folder: Path) -> None:
    checking = Checking(folder)
    checking.run(lambda checker: checker.start())
    (process_id,) = checking.checker.process_ids
    checking.run(lambda checker: checker.stop())
    assert not Path(f"/proc/{process_id}").exists()
    problem = checking.refusal(energy_request(json.dumps(clip("shot", str(folder / "a.mov")))))
    assert "stopping" in problem.what
    checking.close()


def test_the_front_process_never_imports_opentimelineio_and_the_checking_process_no_torch() -> None:
    for module, absent in (("rewas_server.grpc.app", "opentimelineio"), ("rewas_server.checking.run", "torch")):
        code = f"import sys, {module}; print({absent!r} in sys.modules)"
        completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert completed.stdout.strip() == "False", module
