"""Jobs of the add-on on a real server survive the end of the server or the session, and none is submitted twice."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2
from rewas_engine.recipes.untrained_starter import write_untrained_pack
from rewas_nle.core import jobs
from rewas_nle.core.analysis import Analyses, AnalysisEnded, AnalysisRequest
from rewas_nle.core.board import JobStatus
from rewas_nle.core.contract import ServerChoice
from rewas_nle.core.description_question import DescriptionQuestion
from rewas_nle.core.messages import Message
from rewas_nle.core.records import JobRecord, RecordsFound, new_key
from rewas_nle.core.session import Session
from rewas_nle.core.slices import run_all
from rewas_nle.core.sound_settings import SoundSettings
from rewas_nle.timeline.strips import SelectedClip

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))

from server_process import ServerProcess
from sliding_square import FRAME_RATE, FRAMES, write_video

pytestmark = pytest.mark.slow

BLEND_FILE = "/film/d.blend"


class Server:
    """A server that can be killed and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        write_untrained_pack(folder / "packs" / "untrained")
        self.start()

    def start(self) -> None:
        self._process = ServerProcess(
            self._folder / "state",
            [self._folder],
            port=self._port,
            packs_dir=self._folder / "packs",
            default_pack="untrained",
            settings={"queue_limit": 1000},
        )
        assert self._process.port, self._process.refusal
        self._port = self._process.port
        self.choice = ServerChoice(self._process.address)

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()

    def jobs(self) -> list[Any]:
        with RewasClient(self.choice.address) as client:
            return list(client.list_jobs())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    write_video(folder / "square.mp4")
    server = Server(folder)
    yield server
    server.stop()


class Editor:
    """A session of Blender, as far as it concerns jobs."""

    def __init__(self, journal: Path, server: Server) -> None:
        self.session = Session(journal)
        self.messages: list[Message] = []
        self._server = server

    def pump_until(self, condition: Callable[[], object], within_s: float = 240.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline_s, self.session.board
            self.session.drain(self._handle, deadline_s=time.monotonic() + 0.005)
            threading.Event().wait(0.01)

    def _handle(self, message: Message) -> None:
        self.messages.append(message)
        if isinstance(message, RecordsFound):
            run_all(self.session.resume(message, lambda address: self._server.choice))

    def job(self, record: JobRecord) -> JobStatus:
        return self.session.board.jobs[record.key]


@pytest.fixture
def open_editor(tmp_path: Path, server: Server) -> Iterator[Callable[[], Editor]]:
    """A function that begins a session with the same journal. The previous one may have crashed or be still open."""
    editors: list[Editor] = []

    def open_one() -> Editor:
        editors.append(Editor(tmp_path / "journal", server))
        return editors[-1]

    yield open_one
    for editor in editors:
        assert editor.session.close()


def make_record(folder: Path, stems_folder: Path, *, media: str = "square.mp4", steps: int = 2) -> JobRecord:
    clip = SelectedClip(
        name="square",
        path=str(folder / media),
        prompt="a ball bounces",
        start_frame=1,
        frames=FRAMES,
        content_start_frame=1,
        rate=FRAME_RATE,
        source_start_s=Fraction(0),
        source_duration_s=FRAMES / FRAME_RATE,
        media_frames=FRAMES,
        media_rate=FRAME_RATE,
    )
    settings = SoundSettings(seed=7, num_inference_steps=steps)
    now_s = int(time.time())
    return JobRecord(new_key(), clip, settings, "Scene", stems_folder, blend_file=BLEND_FILE, created_at_s=now_s)


def test_a_job_continues_when_the_server_is_back(
    server: Server, folder: Path, tmp_path: Path, open_editor: Callable[[], Editor]
) -> None:
    editor, record = open_editor(), make_record(folder, tmp_path / "stems")
    editor.session.generate([record], server.choice)
    editor.pump_until(lambda: editor.job(record).job_id)
    server.kill()
    editor.pump_until(lambda: editor.job(record).server_problem)
    assert editor.job(record).status_text == "Waiting for the server"
    assert not editor.job(record).is_finished
    server.start()
    editor.pump_until(lambda: editor.job(record).state == "arriving")
    received = editor.session.book.get(record.key).received  # type: ignore[union-attr]
    assert received is not None
    ((stem,),) = [take.stems for take in received.takes]
    assert stem.path.parent == tmp_path / "stems"
    assert stem.samples == round(FRAMES / FRAME_RATE * stem.sample_rate_hz)
    assert received.takes[0].output_energy is not None
    assert received.requested_energy is not None
    assert '"prompt": "a ball bounces"' in received.generation_info.settings_json


def test_a_job_is_found_again_after_a_crash_and_not_submitted_twice(
    server: Server, folder: Path, tmp_path: Path, open_editor: Callable[[], Editor]
) -> None:
    before = len(server.jobs())
    crashed, record = open_editor(), make_record(folder, tmp_path / "stems")
    crashed.session.generate([record], server.choice)
    crashed.pump_until(lambda: crashed.job(record).job_id)
    # The crash came before the server's answer was stored.
    crashed.session.book.change_durably(record.key, job_id="")
    for _ in range(2):
        editor = open_editor()
        editor.session.open_file(BLEND_FILE, tmp_path / "stems", ["not a record"])
        assert editor.session.is_busy
        editor.pump_until(lambda: record.key in editor.session.board.jobs)  # noqa: B023
        editor.pump_until(lambda: editor.job(record).state == "arriving")  # noqa: B023
    assert len(server.jobs()) == before + 1
    assert len(list((tmp_path / "stems").iterdir())) == 1
    editor.session.finish(record.key, "Placed")
    editor.session.save_file(BLEND_FILE, tmp_path / "stems")
    assert editor.session.close()
    assert list((tmp_path / "journal").iterdir()) == []


def test_the_jobs_of_other_files_are_left_alone(
    server: Server, folder: Path, tmp_path: Path, open_editor: Callable[[], Editor]
) -> None:
    editor, record = open_editor(), make_record(folder, tmp_path / "stems")
    editor.session.generate([record], server.choice)
    editor.session.open_file("/film/e.blend", tmp_path / "e-stems", [])
    editor.pump_until(lambda: not editor.session.is_looking)
    assert record.key not in editor.session.open_keys
    editor.pump_until(lambda: editor.job(record).state == "arriving")
    assert not (tmp_path / "e-stems").exists()
    editor.session.store(record.key, "Arrived. Open d.blend to place it.")
    assert not editor.session.is_busy
    editor.session.open_file(BLEND_FILE, tmp_path / "stems", [])
    editor.pump_until(lambda: editor.job(record).state == "arriving")
    assert record.key in editor.session.open_keys


def test_a_failed_job_can_be_retried(
    server: Server, folder: Path, tmp_path: Path, open_editor: Callable[[], Editor]
) -> None:
    editor, record = open_editor(), make_record(folder, tmp_path / "stems", media="late.mp4")
    editor.session.generate([record], server.choice)
    editor.pump_until(lambda: editor.job(record).is_finished)
    assert editor.job(record).state == "failed"
    assert editor.job(record).can_retry
    assert "late.mp4" in str(editor.job(record).problem)
    # Also in another session.
    editor = open_editor()
    editor.session.open_file(BLEND_FILE, tmp_path / "stems", [])
    editor.pump_until(lambda: record.key in editor.session.board.jobs)
    assert editor.job(record).can_retry
    (folder / "late.mp4").write_bytes((folder / "square.mp4").read_bytes())
    assert editor.session.retry(record.key, server.choice)
    assert editor.job(record).state == "sending"
    editor.pump_until(lambda: editor.job(record).state == "arriving")


def test_many_jobs_do_not_fill_the_queue_of_the_server(
    server: Server,
    folder: Path,
    tmp_path: Path,
    open_editor: Callable[[], Editor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "MOST_ON_SERVER", 1)
    editor, records = open_editor(), [make_record(folder, tmp_path / "stems") for _ in range(3)]
    editor.session.generate(records, server.choice)
    first, second, third = records
    editor.pump_until(lambda: editor.job(second).job_id)
    assert editor.job(first).fraction == 1.0
    assert editor.job(third).job_id == ""
    assert editor.session.cancel(third.key)
    editor.pump_until(lambda: editor.job(third).is_finished)
    editor.pump_until(lambda: editor.job(second).state == "arriving")
    assert [editor.job(record).state for record in records] == ["arriving", "arriving", "cancelled"]


def test_a_job_that_the_server_has_lost_is_submitted_again(
    server: Server, folder: Path, tmp_path: Path, open_editor: Callable[[], Editor]
) -> None:
    editor, record = open_editor(), make_record(folder, tmp_path / "stems")
    record = replace(record, job_id="no-such-job")
    editor.session.generate([record], server.choice)
    editor.pump_until(lambda: editor.job(record).state == "arriving")
    assert editor.job(record).job_id != "no-such-job"


def test_a_cancelled_job_stays_cancelled_when_the_server_is_back(
    server: Server, folder: Path, tmp_path: Path, open_editor: Callable[[], Editor]
) -> None:
    editor, record = open_editor(), make_record(folder, tmp_path / "stems", steps=1000)
    other = make_record(folder, tmp_path / "stems", steps=1000)
    editor.session.generate([record, other], server.choice)
    editor.pump_until(lambda: editor.job(record).job_id and editor.job(other).job_id)
    job_ids = [editor.job(record).job_id, editor.job(other).job_id]
    assert editor.session.cancel(other.key)
    editor.pump_until(lambda: editor.job(other).is_finished)
    server.kill()
    editor.pump_until(lambda: editor.job(record).server_problem)
    late = make_record(folder, tmp_path / "stems")
    editor.session.generate([late], server.choice)
    editor.pump_until(lambda: editor.job(late).server_problem)
    for cancelled in (record, late):
        assert editor.session.cancel(cancelled.key)
        editor.pump_until(lambda: editor.job(cancelled).is_finished, 30)  # noqa: B023
    assert [job.state for job in editor.session.board.jobs.values()] == ["cancelled"] * 3
    # The server learns it although the editor was closed in the meantime.
    assert editor.session.close()
    server.start()
    editor = open_editor()
    editor.session.open_file(BLEND_FILE, tmp_path / "stems", [])

    def states() -> list[int]:
        return [job.state for job in server.jobs() if job.id in job_ids]

    editor.pump_until(lambda: states() == [rewas_pb2.JOB_STATE_CANCELLED] * 2)
    assert dict(editor.session.board.jobs) == {}
    editor.pump_until(lambda: not list((tmp_path / "journal").glob("*.json")))


def test_the_job_of_a_withdrawn_question_is_cancelled(
    server: Server, folder: Path, tmp_path: Path, open_editor: Callable[[], Editor]
) -> None:
    editor, record = open_editor(), make_record(folder, tmp_path / "stems", steps=1000)
    # The question waits behind a long job.
    editor.session.generate([record], server.choice)
    editor.pump_until(lambda: editor.job(record).state == "running")
    answers: list[AnalysisEnded] = []
    analyses = Analyses(server.choice, post=answers.append)
    analyses.ask(AnalysisRequest("words", record.clip, DescriptionQuestion(), BLEND_FILE))
    editor.pump_until(lambda: server.jobs()[0].state == rewas_pb2.JOB_STATE_QUEUED)
    analyses.withdraw("words")
    editor.pump_until(lambda: server.jobs()[0].state == rewas_pb2.JOB_STATE_CANCELLED)
    analyses.close()
    assert analyses.join(60.0)
    assert answers == []
    assert editor.session.cancel(record.key)
    editor.pump_until(lambda: editor.job(record).is_finished)
