"""Generates the sounds of a batch in this process, one after another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from rewas_api.errors import ProblemError
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, EngineError, Progress
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_server.batch.plan import WantedSound
from rewas_server.batch.record import BatchRecord, KeptSound
from rewas_server.batch.run import MadeSound, MakerProgress, raise_if_fatal
from rewas_server.work.translation import problem_from_error

Generate = Callable[[rewas_pb2.SoundWork, Path, ProgressCallback, CancelSignal], rewas_pb2.SoundResult]
"""Generates a sound and writes its stems into a folder. Raises ProblemError, Cancelled."""
_log = logging.getLogger(__name__)


class LocalMaker:
    """Generates sounds in this process.

    Args:
        record: Keeps the sounds.
        generate: Generates one sound.
    """

    def __init__(self, record: BatchRecord, generate: Generate) -> None:
        self._record = record
        self._generate = generate

    def make(
        self, wanted: Iterable[WantedSound], on_progress: Callable[[MakerProgress], object], cancel: CancelSignal
    ) -> Iterator[MadeSound]:
        """See SoundMaker."""
        done_s = Fraction(0)
        for each in wanted:
            if cancel.is_set():
                raise Cancelled
            yield self._make_one(each, done_s, on_progress, cancel)
            done_s += each.amount_s

    def _make_one(
        self,
        wanted: WantedSound,
        before_s: Fraction,
        on_progress: Callable[[MakerProgress], object],
        cancel: CancelSignal,
    ) -> MadeSound:
        def report(progress: Progress) -> None:
            done_s = before_s + wanted.amount_s * Fraction(progress.fraction)
            on_progress(
                MakerProgress(
                    wanted.name, wanted.number, progress.stage, progress.step, progress.total_steps, done_s
                )
            )  # fmt: skip

        try:
            with self._record.making(wanted.key) as folder:
                result = self._generate(wanted.sound_work(), folder, report, cancel)
                made = KeptSound(wanted.key, wanted.family, wanted.shown, wanted.seed, folder)
                return MadeSound(wanted, self._record.keep(made, result), None)
        except Cancelled:
            raise
        except Exception as error:
            raise_if_fatal(error, self._record.folder)
            if not isinstance(error, ProblemError | EngineError | OSError | MemoryError):
                _log.exception('The clip "%s" failed.', wanted.name)
            return MadeSound(wanted, None, problem_from_error(error))
