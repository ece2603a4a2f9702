"""Generates the missing sounds of a batch, and states where the sound of each clip comes from."""

from __future__ import annotations

import errno
import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

from rewas_api.errors import ProblemError, ProblemKind, ServerUnavailable
from rewas_engine import Cancelled
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.batch.plan import BatchPlan, WantedSound
from rewas_server.batch.record import KeptSound

Origin = Literal["generated", "kept", "cut"]
"""Whether a sound was generated now, was kept from an earlier run, or is a part of a longer sound."""
READ = "read"
"""The stage in which media is read to find out whether it has changed."""
UPLOAD = "upload"
"""The stage in which media is sent to a server."""


@dataclass(frozen=True)
class BatchProgress:
    """The progress of a batch.

    Attributes:
        clip_name: Of the clip in progress.
        number: Of the clip on the timeline, from 1.
        clip_count: Number of clips of the timeline with a prompt.
        stage: As in rewas_engine.Progress, READ or UPLOAD; "" while waiting.
        step: Step of the stage, from 0; for READ and UPLOAD, the number of bytes.
        total_steps: Number of steps of the stage; 0 if it has none.
        fraction: Of the whole batch, 0 to 1.
    """

    clip_name: str
    number: int
    clip_count: int
    stage: str
    step: int
    total_steps: int
    fraction: float


@dataclass(frozen=True)
class MakerProgress:
    """The progress of a maker. done_s: seconds of finished sound; the other fields are those of BatchProgress."""

    clip_name: str
    number: int
    stage: str
    step: int
    total_steps: int
    done_s: Fraction


@dataclass(frozen=True)
class MadeSound:
    """The outcome of one sound: it is kept, or there is a problem."""

    wanted: WantedSound
    kept: KeptSound | None
    problem: ProblemError | None


class SoundMaker(Protocol):
    """Generates sounds, in this process or on a server."""

    def make(
        self, wanted: Iterable[WantedSound], on_progress: Callable[[MakerProgress], object], cancel: CancelSignal
    ) -> Iterator[MadeSound]:
        """Generate sounds and yield each when it is kept. A sound that fails does not stop the others.

        Raises Cancelled, and ProblemError if no further sound can be generated.
        """


@dataclass(frozen=True)
class ClipOutcome:
    """The outcome of a clip.

    Attributes:
        number: Of the clip on the timeline, from 1.
        origin: Where its sound comes from; None without a sound.
        sound: Its sound, which may be longer than the clip.
        head_s: How far into its sound the clip begins, as shown.
        problem: Why it has no sound.
    """

    number: int
    origin: Origin | None = None
    sound: KeptSound | None = None
    head_s: Fraction = Fraction(0)
    problem: ProblemError | None = None


class BatchStopped(Exception):
    """The batch was stopped. Finished sounds are kept.

    made_count, clip_count: number of clips that have their sound, and of all clips.
    """

    def __init__(self, made_count: int, clip_count: int) -> None:
        super().__init__(f"stopped after {made_count} of {clip_count} clips")
        self.made_count = made_count
        self.clip_count = clip_count


def run_batch(
    plan: BatchPlan, maker: SoundMaker, on_progress: Callable[[BatchProgress], object], cancel: CancelSignal
) -> dict[int, ClipOutcome]:
    """Generate the missing sounds. Returns the outcome of each clip, by its number.

    Raises:
        BatchStopped: On request.
        ProblemError: No further sound can be generated, for example because the disk is full. Finished sounds are kept.
    """
    run = _Run(plan, maker, on_progress, cancel)
    try:
        run.make_all()
    except Cancelled:
        made = sum(outcome.sound is not None for outcome in run.outcomes.values())
        raise BatchStopped(made, len(plan.clips)) from None
    return run.outcomes


class _Run:
    def __init__(
        self,
        plan: BatchPlan,
        maker: SoundMaker,
        on_progress: Callable[[BatchProgress], object],
        cancel: CancelSignal,
    ) -> None:
        self.outcomes: dict[int, ClipOutcome] = {}
        self._plan = plan
        self._maker = maker
        self._on_progress = on_progress
        self._cancel = cancel
        self._same: dict[str, list[WantedSound]] = {}
        self._parts: list[WantedSound] = []
        self._left_s: dict[int, Fraction] = {}
        self._fraction = 0.0
        self._clip_count = plan.clip_count or len(plan.clips)

    def make_all(self) -> None:
        longer = self._plan.find_longer_clips()
        self._left_s = {
            number: clip.duration_s * (clip.settings.takes or 1)
            for number, clip in self._plan.clips.items()
            if number not in longer
        }
        self._make(self._missing(self._plan.clips, longer))
        # Clips whose sound should be a part of one that failed get their own sound.
        self._make(self._uncut(longer))

    def _make(self, wanted: Iterator[WantedSound]) -> None:
        for made in self._maker.make(wanted, self._report, self._cancel):
            for each in self._same.pop(made.wanted.key, [made.wanted]):
                if made.kept is None:
                    self.outcomes[each.number] = ClipOutcome(each.number, problem=made.problem)
                else:
                    self._set(each, made.kept, "generated")

    def _missing(self, numbers: Iterable[int], longer: Mapping[int, int]) -> Iterator[WantedSound]:
        for number in numbers:
            if self._cancel.is_set():
                raise Cancelled
            try:
                wanted = self._plan.want(number, functools.partial(self._report_reading, number))
            except ServerUnavailable:
                raise
            except ProblemError as problem:
                raise_if_fatal(problem, self._plan.record.folder)
                self.outcomes[number] = ClipOutcome(number, problem=problem)
                self._left_s.pop(number, None)
                continue
            is_part = number in longer and wanted.can_be_cut
            if self._is_kept(wanted, is_part):
                self._left_s.pop(number, None)
            elif is_part:
                self._parts.append(wanted)
            elif wanted.key in self._same:
                self._same[wanted.key].append(wanted)
                self._left_s.pop(number, None)
            else:
                self._same[wanted.key] = [wanted]
                yield wanted

    def _uncut(self, longer: Mapping[int, int]) -> Iterator[WantedSound]:
        for wanted in self._parts:
            sound = self.outcomes[longer[wanted.number]].sound
            if sound is not None and sound.shown.contains(wanted.shown):
                self._set(wanted, sound, "cut")
            else:
                yield from self._missing([wanted.number], {})

    def _is_kept(self, wanted: WantedSound, is_part: bool) -> bool:
        """Use a finished sound. is_part: whether the clip shows a part of what another one shows."""
        record = self._plan.record
        found = record.find(wanted.key)
        if found is not None:
            self._set(wanted, found, "kept")
            return True
        found = record.find_longer(wanted.family, wanted.shown) if wanted.can_be_cut and not is_part else None
        if found is not None:
            self._set(wanted, found, "cut")
        return found is not None

    def _set(self, wanted: WantedSound, sound: KeptSound, origin: Origin) -> None:
        head_s = wanted.shown.start_s - sound.shown.start_s + wanted.head_s
        self.outcomes[wanted.number] = ClipOutcome(wanted.number, origin, sound, head_s)

    def _report_reading(self, number: int, read_bytes: int, size_bytes: int) -> None:
        if self._cancel.is_set():
            raise Cancelled
        name = self._plan.clips[number].source.name
        self._on_progress(BatchProgress(name, number, self._clip_count, READ, read_bytes, size_bytes, self._fraction))

    def _report(self, progress: MakerProgress) -> None:
        total_s = sum(self._left_s.values())
        fraction = min(1.0, float(progress.done_s / total_s)) if total_s else 1.0
        self._fraction = max(self._fraction, fraction)
        self._on_progress(
            BatchProgress(
                progress.clip_name,
                progress.number,
                self._clip_count,
                progress.stage,
                progress.step,
                progress.total_steps,
                self._fraction,
            )
        )


def raise_if_fatal(error: BaseException, folder: Path) -> None:
    """Raise ProblemError if the error of one clip means that no sound can be kept, for example if the disk is full.

    folder: where sounds are kept.
    """
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    if any(isinstance(cause, sqlite3.Error) for cause in causes):
        raise error
    for cause in causes:
        if not isinstance(cause, OSError):
            continue
        is_ours = isinstance(cause.filename, str | Path) and Path(cause.filename).is_relative_to(folder)
        if is_ours or cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ProblemError(
                f"The folder {folder.parent} cannot be written ({cause.strerror or cause}).",
                "Free some space or change its permissions, and run the same command again. Finished sounds are kept.",
                ProblemKind.RESOURCES,
            ) from error


__all__ = [
    "READ",
    "UPLOAD",
    "BatchProgress",
    "BatchStopped",
    "ClipOutcome",
    "MadeSound",
    "MakerProgress",
    "Origin",
    "SoundMaker",
    "raise_if_fatal",
    "run_batch",
]
