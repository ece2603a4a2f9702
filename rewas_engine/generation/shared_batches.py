"""Batches that several sounds share: threads that sample at the same time run the networks together."""

from __future__ import annotations

import contextlib
import operator
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from rewas_engine.errors import SettingsError
from rewas_engine.runtime.memory_errors import is_out_of_memory

MAX_WAIT_S = 0.005
"""Longest time for which idle networks wait for the passes of more threads. Running a batch takes much longer."""


@dataclass(frozen=True, eq=False)
class Passes:
    """Passes through the networks, one in each row. Passes with the same settings and shapes can share a batch.

    Args:
        latents: [B, C, T, F] noisy latents.
        timesteps: [B], or a scalar for all rows, which cannot share a batch.
        prompts: [B, ...] embeddings.
        hints: [B, H, T, F] encoded controls.
        is_controlled: Whether the adapter acts. If not, the hints are not used.
        control_strength: Factor of the adapter's residuals.
        precision: Precision of the arithmetic.
    """

    latents: torch.Tensor
    timesteps: torch.Tensor
    prompts: torch.Tensor
    hints: torch.Tensor
    is_controlled: bool
    control_strength: float
    precision: torch.dtype

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def shapes(self) -> tuple[object, ...]:
        """What decides how the networks compute these passes."""
        rows = tuple((name, each.shape[1:], each.dtype) for name, each in self._rows.items())
        return self.is_controlled, self.precision, rows

    def fits(self, other: Passes) -> bool:
        """Whether these passes can share a batch with others."""
        return self.shapes == other.shapes and self.control_strength == other.control_strength

    def map_rows(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Passes:
        """Change all tensors in the same way."""
        changed: dict[str, Any] = {name: change(rows) for name, rows in self._rows.items()}
        return replace(self, **changed)

    def padded(self, size: int) -> Passes:
        """Add rows of zeros up to a size."""
        missing = size - len(self)
        return self.map_rows(lambda rows: torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]))

    @property
    def _rows(self) -> dict[str, torch.Tensor]:
        return {name: getattr(self, name) for name in ("latents", "timesteps", "prompts", "hints")}

    @staticmethod
    def join(several: list[Passes]) -> Passes:
        """Join passes that fit."""
        rows: dict[str, Any] = {name: torch.cat([each._rows[name] for each in several]) for name in several[0]._rows}
        return replace(several[0], **rows)


Predict = Callable[[Passes], torch.Tensor]
"""From passes to predictions [B, C, T, F], row by row."""


@dataclass(eq=False)
class _Call:
    """Passes, and their prediction or error."""

    passes: Passes
    arrived_s: float = field(default_factory=time.monotonic)
    runs_alone: bool = False
    prediction: torch.Tensor | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.prediction is not None or self.error is not None


class SharedBatches:
    """Runs the passes of all threads that sample at the same time, so that they share batches.

    The prediction for a pass does not depend on the passes that share its batch: empty rows are filled with zeros, and
    only batch sizes that give the same numbers, bit for bit, in every row are used. They are checked before the first
    batch.

    A batch begins when it is full, when every thread that samples waits for its prediction, or after MAX_WAIT_S. One of
    the waiting threads runs it for all.

    Args:
        predict: The networks.
        size: Largest number of rows in a batch.
    """

    def __init__(self, predict: Predict, size: int) -> None:
        self._predict = predict
        self._size = size
        self._changed = threading.Condition()
        self._waiting: list[_Call] = []
        self._sampling_threads = 0
        self._is_running = False
        self._idle_since_s = 0.0
        self._sizes: dict[tuple[object, ...], tuple[int, ...]] = {}

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        """Within the block, the calling thread samples a sound, and others wait for its passes."""
        with self._changed:
            self._sampling_threads += 1
        try:
            yield
        finally:
            with self._changed:
                self._sampling_threads -= 1
                self._changed.notify_all()

    def predict(self, passes: Passes) -> torch.Tensor:
        """Return the predictions for passes, at most one batch of them. Call it within a `sampling` block.

        An error that the passes of another thread cause is not raised here, except when memory runs out.

        Raises:
            SettingsError: On this device, predictions depend on the row of a batch of this size.
        """
        call = _Call(passes)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
        try:
            while batch := self._wait(call):
                self._run(batch)
        finally:
            with self._changed:
                if call in self._waiting:
                    self._waiting.remove(call)
        if call.error is not None:
            raise call.error
        assert call.prediction is not None
        return call.prediction

    def _wait(self, call: _Call) -> list[_Call]:
        """Wait until a call is done, or until its thread must run the returned calls."""
        with self._changed:
            while not call.is_done:
                timeout_s = None
                if not self._is_running and self._waiting:
                    batch = self._next_batch()
                    # The threads of the last batch may be about to bring their next passes.
                    since_s = max(batch[0].arrived_s, self._idle_since_s)
                    timeout_s = since_s + MAX_WAIT_S - time.monotonic()
                    if self._is_complete(batch) or timeout_s <= 0:
                        self._is_running = True
                        self._waiting = [each for each in self._waiting if each not in batch]
                        return batch
                self._changed.wait(timeout_s)
            return []

    def _next_batch(self) -> list[_Call]:
        """The call that waits longest, and those that fit into a batch with it."""
        first = self._waiting[0]
        batch, free = [first], self._size - len(first.passes)
        for call in self._waiting[1:]:
            can_share = call.passes.fits(first.passes) and not (first.runs_alone or call.runs_alone)
            if can_share and len(call.passes) <= free:
                batch.append(call)
                free -= len(call.passes)
        return batch

    def _is_complete(self, batch: list[_Call]) -> bool:
        is_full = sum(len(call.passes) for call in batch) == self._size
        return is_full or batch[0].runs_alone or len(self._waiting) >= self._sampling_threads

    def _run(self, batch: list[_Call]) -> None:
        counts = [len(call.passes) for call in batch]
        try:
            passes = Passes.join([call.passes for call in batch])
            size = min(size for size in self._find_sizes(passes) if size >= len(passes))
            predictions = self._predict(passes.padded(size))
            for call, rows in zip(batch, predictions[: len(passes)].split(counts), strict=True):
                call.prediction = rows
        except Exception as error:  # every library has its own exception type
            if len(batch) > 1 and not is_out_of_memory(error):
                # Only the call that causes the error must fail, so each runs again alone.
                for call in batch:
                    call.runs_alone = True
            else:
                for call in batch:
                    call.error = error
        finally:
            with self._changed:
                self._waiting[:0] = [call for call in batch if not call.is_done]
                self._is_running, self._idle_since_s = False, time.monotonic()
                self._changed.notify_all()

    def _find_sizes(self, passes: Passes) -> tuple[int, ...]:
        """Sizes of batches for passes of these shapes, the largest first. Raises SettingsError if there is none."""
        key = (passes.shapes, torch.get_num_threads())
        if key not in self._sizes:
            self._sizes[key] = self._check_sizes(passes)
        if not self._sizes[key]:
            raise SettingsError(
                f"Sounds cannot share batches of {self._size}: on this device, the samples of a sound would depend on "
                "its place in the batch.",
                "Set `batch_size` to a multiple of the number of threads, or leave out `shares_batches`.",
            )
        return self._sizes[key]

    def _check_sizes(self, passes: Passes) -> tuple[int, ...]:
        """Sizes that give the same predictions as the largest, bit for bit, in all rows.

        Other sizes may not: libraries compute few rows with other instructions, or split a row between two threads.
        """
        generator = torch.Generator().manual_seed(0)
        probe = passes.map_rows(lambda rows: _draw(rows, self._size, generator))
        expected = self._predict(probe)
        sizes: list[int] = []
        size = self._size
        while size and self._is_reproduced(probe.map_rows(operator.itemgetter(slice(size))), expected[:size]):
            sizes.append(size)
            size //= 2
        return tuple(sizes)

    def _is_reproduced(self, probe: Passes, expected: torch.Tensor) -> bool:
        """Whether each row gives its expected prediction, also after moving to the next row."""
        moved = probe.map_rows(lambda rows: rows.roll(1, dims=0))
        return torch.equal(self._predict(probe), expected) and torch.equal(
            self._predict(moved), expected.roll(1, dims=0)
        )


def _draw(rows: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Random rows of the same shape and type."""
    shape = (size, *rows.shape[1:])
    if rows.is_floating_point():
        return torch.randn(shape, generator=generator).to(rows)
    return torch.randint(1000, shape, generator=generator).to(rows)
