"""Preparing a job in the background: the latest request counts, and errors stay in the background."""

import os
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.worker import messages
from rewas_server.worker.preparation import LOWER_PRIORITY, Preparation

NEVER = threading.Event()


class Work:
    """Work that waits until it is released or cancelled."""

    def __init__(self) -> None:
        self.begun, self.release, self.was_cancelled = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, cancel: CancelSignal) -> None:
        self.begun.set()
        while not self.release.wait(0.005):
            if cancel.is_set():
                self.was_cancelled.set()
                raise Cancelled


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def preparation() -> Iterator[Preparation]:
    preparation = Preparation()
    yield preparation
    preparation.stop()


def test_a_job_waits_for_its_preparation(preparation: Preparation, ended: list[str]) -> None:
    work = Work()
    preparation.begin("a", work, ended.append)
    assert work.begun.wait()
    assert preparation.is_preparing("a")
    assert not preparation.is_preparing("b")
    waiting = threading.Thread(target=lambda: preparation.wait_for("a", NEVER))
    waiting.start()
    work.release.set()
    waiting.join()
    assert not preparation.is_preparing("a")
    preparation.wait_for("a", NEVER)
    preparation.wait_for("b", NEVER)


def test_a_job_that_is_cancelled_while_it_waits_ends_the_preparation(
    preparation: Preparation, ended: list[str]
) -> None:
    work, cancel = Work(), threading.Event()
    preparation.begin("a", work, ended.append)
    assert work.begun.wait()
    cancel.set()
    with pytest.raises(Cancelled):
        preparation.wait_for("a", cancel)
    assert work.was_cancelled.wait()


def test_a_new_request_replaces_the_previous_one(preparation: Preparation, ended: list[str]) -> None:
    first, skipped, last = Work(), Work(), Work()
    last.release.set()
    preparation.begin("first", first, ended.append)
    assert first.begun.wait()
    preparation.begin("skipped", skipped, ended.append)
    preparation.begin("last", last, ended.append)
    preparation.wait_for("last", NEVER)
    assert first.was_cancelled.is_set()
    assert not skipped.begun.is_set()
    preparation.stop()
    assert ended[:2] == ["first", "skipped"]


@pytest.mark.parametrize("error", [ValueError("bug"), MemoryError(), Cancelled()])
def test_an_error_ends_only_the_preparation(preparation: Preparation, ended: list[str], error: Exception) -> None:
    def fail(cancel: CancelSignal) -> None:
        raise error

    preparation.begin("broken", fail, ended.append)
    preparation.wait_for("broken", NEVER)
    work = Work()
    work.release.set()
    preparation.begin("next", work, ended.append)
    preparation.wait_for("next", NEVER)
    assert work.begun.is_set()
    assert ended[0] == "broken"


def test_stopping_waits_until_the_work_has_ended(preparation: Preparation, ended: list[str]) -> None:
    preparation.stop()
    work = Work()
    preparation.begin("a", work, ended.append)
    assert work.begun.wait()
    preparation.stop()
    assert work.was_cancelled.is_set()
    assert not preparation.is_preparing("a")


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux do threads have their own priorities")
def test_only_the_thread_of_the_preparation_has_a_lower_priority(preparation: Preparation, ended: list[str]) -> None:
    before, seen = os.getpriority(os.PRIO_PROCESS, 0), []

    def look(cancel: CancelSignal) -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, 0))

    preparation.begin("a", look, ended.append)
    preparation.wait_for("a", NEVER)
    assert seen == [min(before + LOWER_PRIORITY, 19)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


@pytest.mark.parametrize(
    "build",
    [
        lambda: messages.Prepare("1", rewas_pb2.SubmitJobRequest(idempotency_key="key")),
        lambda: messages.Prepared("1"),
        lambda: messages.LoadPack("tiny"),
        lambda: messages.LoadEnded("tiny"),
        lambda: messages.LoadEnded("tiny", ProblemError("It is damaged.", "Install it again.", ProblemKind.PACK)),
        lambda: messages.Loaded("tiny", "cpu", ("tiny", "other")),
        lambda: messages.Ready(("cpu",), loads_packs=True),
    ],
)
def test_the_messages_survive_the_pipe(build: Callable[[], messages.Message]) -> None:
    sent = build()
    received = messages.from_line(messages.to_line(sent))
    assert type(received) is type(sent)
    assert messages.to_line(received) == messages.to_line(sent)
