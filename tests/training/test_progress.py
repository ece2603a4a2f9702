"""Progress of a training and its remaining time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_cli.commands.training_console import progress_printer
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.progress import Pace, PartCounter


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@given(
    found=st.integers(0, 1000),
    made=st.integers(1, 1000),
    missing=st.integers(0, 1000),
    each_s=st.floats(0.01, 1000),
)
def test_parts_finished_earlier_do_not_count_for_the_pace(found: int, made: int, missing: int, each_s: float) -> None:
    clock = Clock()
    pace = Pace(found, clock)
    assert pace.time_left_s(found, found + made + missing) is None
    clock.now_s += made * each_s
    assert pace.time_left_s(found + made, found + made + missing) == pytest.approx(missing * each_s, rel=1e-6)


def test_every_stage_has_its_own_pace() -> None:
    clock, reports = Clock(), list[Progress]()
    counting = PartCounter(reports.append, clock)
    for stage, each_s in (("sounds", 3.0), ("pictures", 50.0)):
        for done in range(6, 11):
            clock.now_s += each_s
            counting.report(stage, done, 10)
    assert [progress.time_left_s for progress in reports] == [None, 9, 6, 3, 0, None, 150, 100, 50, 0]
    assert {progress.loss for progress in reports} == {None}
    assert [(progress.stage, progress.step, progress.total_steps) for progress in reports[4:6]] == [
        ("sounds", 10, 10),
        ("pictures", 6, 10),
    ]
    assert [progress.fraction for progress in reports[:5]] == [0.6, 0.7, 0.8, 0.9, 1.0]


def test_the_callback_is_optional() -> None:
    PartCounter(None).report("sounds", 1, 2)


@pytest.mark.parametrize(
    ("loss", "left_s", "line"),
    [
        (None, None, "base: 3 of 9"),
        (None, 0.2, "base: 3 of 9, 1 s left"),
        (None, 89.4, "base: 3 of 9, 89 s left"),
        (0.0, 90.0, "base: 3 of 9, loss 0.0000, 2 min left"),
        (1.23456, 5369.0, "base: 3 of 9, loss 1.2346, 89 min left"),
        (1.23456, 5370.0, "base: 3 of 9, loss 1.2346, 1 h 30 min left"),
        (1.0, 0.0, "base: 3 of 9, loss 1.0000"),
    ],
)
def test_the_line_shows_what_is_known(
    loss: float | None, left_s: float | None, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    progress_printer()(Progress("base", 3, 9, 3 / 9, loss=loss, time_left_s=left_s))
    assert capsys.readouterr().err.strip() == line


def test_lines_are_printed_at_intervals_and_at_the_end_of_each_stage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("rewas_cli.commands.training_console.time.monotonic", clock)
    report = progress_printer()
    for stage in ("base", "adapter"):
        for step in range(1, 101):
            clock.now_s += 1
            report(Progress(stage, step, 100, step / 100, loss=1.0, time_left_s=100.0 - step))
    lines = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert "base: 100 of 100" in lines
    assert "adapter: 100 of 100" in lines
    seconds = [int(line.split(": ")[1].split(" ")[0]) for line in lines if line.startswith("base")]
    assert all(later - earlier == 20 for earlier, later in pairwise(seconds[:-1]))
