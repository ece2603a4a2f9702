"""Sounds of several threads share batches, and their samples do not depend on each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewas_engine import Cancelled, Execution, ReWaS, Sampling, SettingsError
from rewas_engine.conditioning.controls import Controls
from rewas_engine.generation import shared_batches
from rewas_engine.generation.shared_batches import Passes, SharedBatches

ROWS = 4


class Networks:
    """Predicts each row from itself, and records the batches."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor] = lambda predicted: predicted) -> None:
        self.batches: list[Passes] = []
        self._change = change

    def __call__(self, passes: Passes) -> torch.Tensor:
        self.batches.append(passes)
        if passes.latents.isnan().any():
            raise RuntimeError("not a number")
        return self._change(passes.latents + passes.timesteps[:, None, None, None])


def passes(value: float, rows: int = 1, strength: float = 1.0, width: int = 4) -> Passes:
    return Passes(
        torch.full((rows, 2, width, 2), value),
        torch.arange(rows),
        torch.zeros(rows, 3),
        torch.zeros(rows, 1, width, 2),
        True,
        strength,
        torch.float32,
    )


def predicted(value: float, rows: int = 1, width: int = 4) -> torch.Tensor:
    return passes(value, rows, width=width).latents + torch.arange(rows)[:, None, None, None]


def in_threads(works: Sequence[Callable[[], object]]) -> list[object]:
    """Run each function in its own thread, and return the results or exceptions."""
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work) for work in works]
        return [future.exception() or future.result() for future in futures]


@pytest.fixture
def waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch hang if it waits for passes that never come."""
    monkeypatch.setattr(shared_batches, "MAX_WAIT_S", 1e6)


def test_a_single_thread_waits_for_nobody(waiting_for_ever: None) -> None:
    shared = SharedBatches(Networks(), ROWS)
    with shared.sampling():
        for rows in range(1, ROWS + 1):
            assert torch.equal(shared.predict(passes(0.5, rows)), predicted(0.5, rows))


def test_threads_that_sample_share_each_batch(waiting_for_ever: None) -> None:
    networks, barrier, steps = Networks(), threading.Barrier(2), 5
    shared = SharedBatches(networks, ROWS)

    def sample(value: float) -> list[torch.Tensor]:
        with shared.sampling():
            barrier.wait()
            return [shared.predict(passes(value + step, 2)) for step in range(steps)]

    found = in_threads([lambda: sample(0.0), lambda: sample(100.0)])
    for results, value in zip(found, (0.0, 100.0), strict=True):
        assert isinstance(results, list)
        assert all(torch.equal(each, predicted(value + step, 2)) for step, each in enumerate(results))
    shared_by_two = [each for each in networks.batches[-steps:] if len(each) == ROWS]
    assert len(shared_by_two) == steps
    assert all(len(set(each.latents[:, 0, 0, 0].tolist())) == 2 for each in shared_by_two)


def test_threads_that_come_during_a_batch_wait_for_those_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, two groups of threads would take turns for ever, each with half a batch."""
    clock, first_runs, second_waits = [0.0], threading.Event(), threading.Event()
    monkeypatch.setattr(shared_batches.time, "monotonic", lambda: clock[0])
    networks = Networks()
    shared = SharedBatches(networks, ROWS)
    predict = networks.__call__

    def slow_predict(one: Passes) -> torch.Tensor:
        if not first_runs.is_set() and one.latents[0, 0, 0, 0] == 1.0:
            first_runs.set()
            second_waits.wait()
            clock[0] += 100.0
        return predict(one)

    shared._predict = slow_predict

    def first() -> torch.Tensor:
        with shared.sampling():
            return torch.cat([shared.predict(passes(1.0)), shared.predict(passes(2.0))])

    def second() -> torch.Tensor:
        first_runs.wait()
        with shared.sampling():
            threading.Thread(target=set_when_waiting).start()
            return shared.predict(passes(3.0))

    def set_when_waiting() -> None:
        while not shared._waiting:
            threading.Event().wait(0.001)
        second_waits.set()

    in_threads([first, second])
    assert networks.batches[-1].latents[:, 0, 0, 0].tolist() == [3.0, 2.0]


def test_a_thread_that_is_busy_elsewhere_delays_the_others_only_for_a_moment() -> None:
    shared = SharedBatches(Networks(), ROWS)
    with shared.sampling(), ThreadPoolExecutor(1) as pool:

        def sample() -> torch.Tensor:
            with shared.sampling():
                return shared.predict(passes(1.0))

        assert torch.equal(pool.submit(sample).result(), predicted(1.0))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sounds=st.lists(
        st.lists(
            st.tuples(st.integers(1, ROWS), st.sampled_from([0.5, 1.0]), st.sampled_from([4, 6])),
            max_size=5,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_thread_gets_the_predictions_for_its_own_passes(
    waiting_for_ever: None, sounds: list[list[tuple[int, float, int]]]
) -> None:
    """Whatever their numbers of steps, rows, settings and shapes are, and whichever ends first."""
    networks = Networks()
    shared = SharedBatches(networks, ROWS)

    def sample(number: int) -> bool:
        with shared.sampling():
            return all(
                torch.equal(
                    shared.predict(passes(number + step / 8, rows, strength, width)),
                    predicted(number + step / 8, rows, width),
                )
                for step, (rows, strength, width) in enumerate(sounds[number])
            )

    assert in_threads([lambda number=number: sample(number) for number in range(len(sounds))]) == [True] * len(sounds)
    assert {len(each) for each in networks.batches} <= {1, 2, ROWS}


def test_only_the_thread_whose_passes_fail_gets_the_error(waiting_for_ever: None) -> None:
    shared, barrier = SharedBatches(Networks(), ROWS), threading.Barrier(3)

    def sample(value: float) -> torch.Tensor:
        with shared.sampling():
            barrier.wait()
            return torch.cat([shared.predict(passes(value)), shared.predict(passes(value))])

    one, error, other = in_threads([lambda: sample(1.0), lambda: sample(float("nan")), lambda: sample(2.0)])
    assert isinstance(error, RuntimeError)
    assert isinstance(one, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    assert torch.equal(one, predicted(1.0).expand(2, -1, -1, -1))
    assert torch.equal(other, predicted(2.0).expand(2, -1, -1, -1))


def test_memory_that_runs_out_is_reported_to_all_threads_of_the_batch(waiting_for_ever: None) -> None:
    barrier = threading.Barrier(2)

    def fail(predictions: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    shared = SharedBatches(Networks(fail), ROWS)

    def sample() -> torch.Tensor:
        with shared.sampling():
            barrier.wait()
            return shared.predict(passes(1.0))

    assert [type(each) for each in in_threads([sample, sample])] == [MemoryError] * 2


def test_networks_whose_predictions_depend_on_the_row_are_refused() -> None:
    shared = SharedBatches(Networks(lambda each: each + 0.25 * torch.arange(len(each))[:, None, None, None]), ROWS)
    with shared.sampling(), pytest.raises(SettingsError, match="batches of 4"):
        shared.predict(passes(1.0))


def test_only_sizes_with_the_same_numbers_are_used() -> None:
    """As with libraries that compute fewer than three rows in another order."""
    networks = Networks(lambda each: each if len(each) > 2 else each + 0.25)
    shared = SharedBatches(networks, 8)
    with shared.sampling():
        alone = shared.predict(passes(1.0))
        shared.predict(passes(1.0, 3))
        shared.predict(passes(1.0, 5))
    assert torch.equal(alone, predicted(1.0))
    assert [len(each) for each in networks.batches[-3:]] == [4, 4, 8]
    assert torch.equal(networks.batches[-3].latents[1:], torch.zeros(3, 2, 4, 2))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """With several threads, not every processor computes all rows of a small batch alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sharing(tiny_pack: Path) -> ReWaS:
    execution = Execution(precision="float32", batch_size=ROWS, shares_batches=True)
    return ReWaS.from_pretrained(tiny_pack, device="cpu", execution=execution)


KINDS = [
    ("rain", 100, 1, Sampling(num_inference_steps=2, guidance_scale=2.0)),
    ("a dog barks", 900, 2, Sampling(num_inference_steps=1, guidance_scale=3.0)),
    ("wind", 400, 3, Sampling(num_inference_steps=3, guidance_scale=1.0)),
    ("a train", 512, 4, Sampling(num_inference_steps=2, guidance_scale=2.0, sampler="dpm++-sde")),
]
"""Prompt, frames, seed and sampling of sounds."""


def generate(model: ReWaS, kind: int, on_step: Callable[[int], object] | None = None) -> torch.Tensor:
    prompt, frames, seed, sampling = KINDS[kind]
    controls = Controls(energy=np.linspace(-9, -3, frames).astype(np.float32))
    return model.sound_generator.generate_log_mel(prompt, controls, seed, model.sampling_settings(sampling), on_step)


@pytest.fixture(scope="module")
def alone(sharing: ReWaS, one_thread: None) -> list[torch.Tensor]:
    """The sounds, each generated while no other thread generates any."""
    return [generate(sharing, kind) for kind in range(len(KINDS))]


def test_sharing_changes_only_the_rounding(tiny_pack: Path, alone: list[torch.Tensor]) -> None:
    plain = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="float32"))
    for kind, sound in enumerate(alone):
        torch.testing.assert_close(sound, generate(plain, kind), atol=2e-4, rtol=1e-4)


def test_samples_do_not_depend_on_other_sounds(sharing: ReWaS, alone: list[torch.Tensor]) -> None:
    """Bit for bit, whichever sounds are generated at the same time, and whichever begins first."""

    @settings(deadline=None, max_examples=6, derandomize=True)
    @given(order=st.lists(st.integers(0, len(KINDS) - 1), min_size=2, max_size=4))
    def check(order: list[int]) -> None:
        found = in_threads([lambda kind=kind: generate(sharing, kind) for kind in order])
        for kind, sound in zip(order, found, strict=True):
            assert isinstance(sound, torch.Tensor)
            assert torch.equal(sound, alone[kind])

    check()


def test_a_cancelled_sound_does_not_affect_the_others(sharing: ReWaS, alone: list[torch.Tensor]) -> None:
    began = threading.Barrier(2)

    def meet_once(step: int) -> None:
        if step == 1:
            began.wait()

    def cancel(step: int) -> None:
        meet_once(step)
        raise Cancelled

    cancelled, other = in_threads([lambda: generate(sharing, 1, cancel), lambda: generate(sharing, 2, meet_once)])
    assert isinstance(cancelled, Cancelled)
    assert isinstance(other, torch.Tensor)
    assert torch.equal(other, alone[2])


def test_samples_in_low_precision_do_not_depend_on_other_sounds(tiny_pack: Path, one_thread: None) -> None:
    execution = Execution(precision="bfloat16", batch_size=ROWS, shares_batches=True)
    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=execution)
    alone = [generate(model, kind) for kind in (0, 2)]
    together = in_threads([lambda: generate(model, 0), lambda: generate(model, 2)])
    for sound, expected in zip(together, alone, strict=True):
        assert isinstance(sound, torch.Tensor)
        assert torch.equal(sound, expected)


@pytest.mark.parametrize("options", [{"low_memory": True}, {"batch_size": 1}])
def test_passes_that_run_alone_cannot_share_batches(options: dict[str, bool | int]) -> None:
    with pytest.raises(SettingsError, match="share"):
        Execution(shares_batches=True, **options)  # type: ignore[arg-type]
