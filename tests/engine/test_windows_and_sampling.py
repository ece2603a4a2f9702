"""Windows over any length, and sampling with exact predictions."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from rewas_engine.conditioning.windows import blend, circular_starts, cut, join, window_starts
from rewas_engine.generation.sampling import KnownLatents, apply_guidance, effective_num_steps, sample


@st.composite
def layouts(draw) -> tuple[int, int, int]:
    window = draw(st.integers(2, 60))
    overlap = draw(st.integers(0, window - 1))
    return draw(st.integers(window, 900)), window, overlap


@given(layouts())
def test_windows_cover_everything_with_the_requested_overlap(layout: tuple[int, int, int]) -> None:
    total, window, overlap = layout
    starts = window_starts(total, window, overlap)
    assert starts[0] == 0
    assert starts[-1] + window == total
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (window - steps >= overlap).all()
    # Windows are evenly spaced: overlaps differ by at most one position.
    assert steps.size == 0 or steps.max() - steps.min() <= 1


@given(layouts())
def test_the_number_of_windows_is_minimal(layout: tuple[int, int, int]) -> None:
    total, window, overlap = layout
    count = len(window_starts(total, window, overlap))
    assert count == 1 or window + (count - 2) * (window - overlap) < total


@limits(max_examples=40)
@given(layouts(), st.integers(0, 1000))
def test_blending_restores_cut_windows(layout: tuple[int, int, int], seed: int) -> None:
    total, window, overlap = layout
    whole = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, total, 2)).astype(np.float32))
    starts = window_starts(total, window, overlap)
    parts = cut(whole, starts, window, dim=1)
    assert parts.shape == (len(starts), 3, window, 2)
    torch.testing.assert_close(blend(parts, starts, total, dim=1), whole, atol=1e-5, rtol=1e-5)


@limits(max_examples=40)
@given(layouts(), st.integers(0, 1000))
def test_joining_restores_cut_windows_exactly(layout: tuple[int, int, int], seed: int) -> None:
    total, window, overlap = layout
    whole = torch.from_numpy(np.random.default_rng(seed).normal(size=total).astype(np.float32))
    starts = window_starts(total, window, overlap)
    assert torch.equal(join(cut(whole, starts, window, dim=0), starts, window, total), whole)


def test_a_blend_is_gradual() -> None:
    parts = torch.stack([torch.zeros(8), torch.ones(8)])
    blended = blend(parts, [0, 4], 12, dim=0)
    assert torch.equal(blended[:4], torch.zeros(4))
    assert torch.equal(blended[8:], torch.ones(4))
    torch.testing.assert_close(blended[4:8], torch.tensor([0.2, 0.4, 0.6, 0.8]))


@st.composite
def circles(draw) -> tuple[int, int, int]:
    window = draw(st.integers(2, 60))
    return draw(st.integers(1, 400)), window, draw(st.integers(0, window - 1))


@limits(max_examples=60)
@given(circles(), st.integers(0, 1000))
def test_blending_restores_windows_of_a_circle(circle: tuple[int, int, int], seed: int) -> None:
    total, window, overlap = circle
    whole = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, total, 2)).astype(np.float32))
    starts = circular_starts(total, window, overlap)
    parts = cut(whole, starts, window, dim=1)
    torch.testing.assert_close(blend(parts, starts, total, dim=1), whole, atol=1e-5, rtol=1e-5)
    gaps = np.diff([*starts, total])
    assert (window - gaps >= overlap).all()


@limits(max_examples=30)
@given(circles(), st.integers(1, 399))
def test_circular_windows_do_not_depend_on_the_start(circle: tuple[int, int, int], turn: int) -> None:
    total, window, overlap = circle
    whole = torch.from_numpy(np.random.default_rng(total).normal(size=(total,)).astype(np.float32))
    starts = circular_starts(total, window, overlap)
    turned = [(start + turn) % total for start in starts]
    assert torch.equal(cut(whole.roll(-turn), starts, window, dim=0), cut(whole, turned, window, dim=0))


def test_a_join_switches_in_the_middle_of_the_overlap() -> None:
    parts = torch.stack([torch.zeros(8), torch.ones(8)])
    assert join(parts, [0, 4], 8, 12).tolist() == [0] * 6 + [1] * 6


def _epsilon_schedule() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _velocity_schedule() -> DDIMScheduler:
    from rewas_engine.recipes.starter import StarterTraining

    return StarterTraining.schedule()


def _oracle(schedule: DDIMScheduler, clean: torch.Tensor, velocity: bool):
    """A denoiser that knows the clean latents."""

    def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        kept = schedule.alphas_cumprod[timestep]
        if not velocity:
            return (latents - kept.sqrt() * clean) / (1 - kept).sqrt()
        noise = (latents - kept.sqrt() * clean) / (1 - kept).sqrt()
        return kept.sqrt() * noise - (1 - kept).sqrt() * clean

    return predict


@pytest.mark.parametrize("num_inference_steps", [2, 20, 200])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampling_with_a_perfect_noise_prediction(num_inference_steps: int, eta: float) -> None:
    schedule, clean = _epsilon_schedule(), torch.randn(8, 16, 4, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(clean.shape, generator=generator)
    sampled = sample(
        _oracle(schedule, clean, velocity=False),
        noise,
        schedule,
        num_inference_steps=num_inference_steps,
        eta=eta,
        generator=generator,
    )
    # The last step ends at the first alpha of the schedule, 0.9985 instead of 1, so some noise remains.
    assert (sampled - clean).abs().max() < 0.3
    assert (sampled - clean).pow(2).mean().sqrt() < 0.05


@pytest.mark.parametrize("num_inference_steps", [1, 2, 20])
def test_sampling_with_a_perfect_velocity_prediction(num_inference_steps: int) -> None:
    schedule, clean = _velocity_schedule(), torch.randn(8, 16, 4, generator=torch.Generator().manual_seed(5)) * 2 - 1
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(clean.shape, generator=generator)
    sampled = sample(
        _oracle(schedule, clean, velocity=True),
        noise,
        schedule,
        num_inference_steps=num_inference_steps,
        eta=0.0,
        generator=generator,
    )
    assert (sampled - clean).pow(2).mean().sqrt() < 0.08


def _sample(seed: int, eta: float, on_step=None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 6, 4, generator=generator)
    return sample(
        lambda latents, timestep: latents.tanh(),
        noise,
        _epsilon_schedule(),
        num_inference_steps=5,
        eta=eta,
        generator=generator,
        on_step=on_step,
    )


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_same_seed_gives_the_same_result(eta: float) -> None:
    assert torch.equal(_sample(3, eta), _sample(3, eta))
    assert not torch.equal(_sample(3, eta), _sample(4, eta))


def test_the_given_schedule_is_not_changed() -> None:
    schedule = _epsilon_schedule()
    before = {name: repr(value) for name, value in vars(schedule).items()}
    generator = torch.Generator().manual_seed(0)
    sample(
        lambda latents, timestep: latents,
        torch.zeros(1, 2, 2),
        schedule,
        num_inference_steps=7,
        eta=0,
        generator=generator,
    )
    assert {name: repr(value) for name, value in vars(schedule).items()} == before


def test_steps_are_counted_and_an_exception_ends_sampling() -> None:
    steps: list[int] = []
    _sample(0, 0.0, steps.append)
    assert steps == [1, 2, 3, 4, 5]

    def stop_at_two(finished: int) -> None:
        steps.append(finished)
        if finished == 2:
            raise KeyboardInterrupt

    steps.clear()
    with pytest.raises(KeyboardInterrupt):
        _sample(0, 0.0, stop_at_two)
    assert steps == [1, 2]


def test_guidance_moves_away_from_the_unconditional_prediction() -> None:
    conditional, unconditional = torch.tensor([2.0]), torch.tensor([1.0])
    assert apply_guidance(conditional, unconditional, 1).item() == 2
    assert apply_guidance(conditional, unconditional, 0).item() == 1
    assert apply_guidance(conditional, unconditional, 3).item() == 4


def _inpainting_change(
    keep_mask: torch.Tensor, strength: float, recorded: list[torch.Tensor] | None = None
) -> torch.Tensor:
    schedule = _velocity_schedule()
    old = torch.randn(8, 12, 16, generator=torch.Generator().manual_seed(9))
    new = torch.randn(8, 12, 16, generator=torch.Generator().manual_seed(10))
    predict = _oracle(schedule, new, velocity=True)

    def predict_and_record(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        if recorded is not None:
            recorded.append(latents.clone())
        return predict(latents, timestep)

    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(old.shape, generator=generator)
    known = KnownLatents(old, keep_mask, strength)
    return (
        sample(
            predict_and_record,
            noise,
            schedule,
            num_inference_steps=10,
            eta=0.0,
            generator=generator,
            known_latents=known,
        )
        - old
    )


def test_kept_positions_are_identical_and_the_others_are_new() -> None:
    keep_mask = torch.zeros(12, dtype=torch.bool)
    keep_mask[:5] = True
    change = _inpainting_change(keep_mask, 1.0).abs().mean(dim=(0, 2))
    assert (change[:5] == 0).all()
    assert (change[5:] > 0.1).all()


def test_kept_positions_have_the_noise_level_of_each_step() -> None:
    keep_mask, recorded = torch.zeros(12, dtype=torch.bool), []
    keep_mask[:6] = True
    _inpainting_change(keep_mask, 1.0, recorded)
    for step, latents in enumerate(recorded):
        assert latents[:, :6].std() == pytest.approx(float(latents[:, 6:].std()), rel=0.15), step


def test_strength_is_the_share_of_steps() -> None:
    none = torch.zeros(12, dtype=torch.bool)
    for strength, steps in ((1.0, 10), (0.5, 5), (0.26, 3), (0.01, 1)):
        recorded: list[torch.Tensor] = []
        _inpainting_change(none, strength, recorded)
        assert len(recorded) == steps == effective_num_steps(10, strength)


def test_a_lower_strength_keeps_more_of_the_original() -> None:
    schedule = _velocity_schedule()
    old = torch.randn(8, 12, 16, generator=torch.Generator().manual_seed(9))

    def predict_zero(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The best guess of the velocity if clean latents and noise are both standard normal."""
        return torch.zeros_like(latents)

    correlations = []
    for strength in (0.1, 0.3, 0.6, 1.0):
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(old.shape, generator=generator)
        known = KnownLatents(old, torch.zeros(12, dtype=torch.bool), strength)
        sampled = sample(
            predict_zero, noise, schedule, num_inference_steps=10, eta=0.0, generator=generator, known_latents=known
        )
        correlations.append(float(np.corrcoef(sampled.flatten(), old.flatten())[0, 1]))
    assert correlations == sorted(correlations, reverse=True)
    assert correlations[0] > 0.85
    assert abs(correlations[-1]) < 0.1
