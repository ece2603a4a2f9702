"""The training loop: exact resumption after any interruption, and cancellation."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from child_processes import killed_child
from torch import nn

from rewas_engine.errors import EngineError
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.loop import LoopConfig, train
from rewas_engine.training.progress import TrainingStopped

CONFIG = LoopConfig(steps=40, learning_rate=1e-2, warmup_steps=5, checkpoint_every=10)


def new_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))


def loss_for(module: nn.Module):
    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randn(8, 6, generator=generator)
        return (module(rows)[:, 0] - rows.prod(dim=1) - step / 100).pow(2).mean()

    return loss_of


def run(folder: Path, config: LoopConfig = CONFIG, seed: int = 3, **more) -> nn.Module:
    module = new_module()
    train("stage", module, loss_for(module), config, folder=folder, seed=seed, **more)
    return module


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """The weights of an uninterrupted run."""
    return weights(run(tmp_path_factory.mktemp("whole")))


def test_it_learns_and_reports_each_step(tmp_path: Path) -> None:
    reports: list[Progress] = []
    module = run(tmp_path, replace(CONFIG, steps=200, ema_decay=0.9), report=reports.append)
    assert [progress.step for progress in reports] == list(range(1, 201))
    assert reports[-1].time_left_s == 0
    assert not module.training
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(9))
    before, after = new_module()(rows)[:, 0] - 2, module(rows)[:, 0] - 2
    assert after.detach().mean().abs() < 0.5 * before.detach().mean().abs()


def test_the_same_run_twice_has_the_same_weights(whole: torch.Tensor, tmp_path: Path) -> None:
    assert torch.equal(weights(run(tmp_path)), whole)
    assert not torch.equal(weights(run(tmp_path / "other", seed=4)), whole)


@pytest.mark.parametrize("stop_after", [1, 10, 17, 39])
def test_a_stopped_run_resumes_exactly(stop_after: int, whole: torch.Tensor, tmp_path: Path) -> None:
    cancel = threading.Event()

    def stop(progress: Progress) -> None:
        if progress.step == stop_after:
            cancel.set()

    with pytest.raises(TrainingStopped, match=f"after {stop_after} steps"):
        run(tmp_path, report=stop, cancel=cancel)
    first: list[int] = []
    module = run(tmp_path, report=lambda progress: first.append(progress.step))
    assert first[0] == stop_after + 1
    assert torch.equal(weights(module), whole)


def train_until_27(wait: Callable[[str], None], folder: Path) -> None:
    run(folder, report=lambda progress: wait("at 27") if progress.step == 27 else None)


@pytest.mark.slow
def test_a_killed_run_resumes_exactly(whole: torch.Tensor, tmp_path: Path) -> None:
    with killed_child(train_until_27, tmp_path, said="at 27"):
        pass
    reports: list[int] = []
    module = run(tmp_path, report=lambda progress: reports.append(progress.step))
    assert reports[0] == 21  # the last checkpoint was at 20
    assert torch.equal(weights(module), whole)


def test_a_finished_run_is_not_repeated(whole: torch.Tensor, tmp_path: Path) -> None:
    run(tmp_path)
    reports: list[Progress] = []
    assert torch.equal(weights(run(tmp_path, report=reports.append)), whole)
    assert reports == []


def test_a_kill_while_the_checkpoint_is_written_leaves_the_one_before(
    whole: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.save

    def half(stored, path: Path) -> None:
        real(stored, path)
        if stored["step"] == 20:
            path.write_bytes(path.read_bytes()[:100])
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    reports: list[int] = []
    assert torch.equal(weights(run(tmp_path, report=lambda progress: reports.append(progress.step))), whole)
    assert reports[0] == 11


@pytest.mark.parametrize(
    ("config", "seed"), [(replace(CONFIG, learning_rate=2e-2), 3), (replace(CONFIG, steps=50), 3), (CONFIG, 4)]
)
def test_a_checkpoint_with_other_settings_is_refused(config: LoopConfig, seed: int, tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(EngineError, match=r"stage.checkpoint has other settings"):
        run(tmp_path, config, seed)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    module = nn.Linear(6, 1)
    with pytest.raises(EngineError, match=r"stage.checkpoint has other settings"):
        train("stage", module, loss_for(module), CONFIG, folder=tmp_path, seed=3)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_an_unreadable_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "stage.checkpoint").write_bytes(content)
    with pytest.raises(EngineError, match=r"stage.checkpoint cannot be read"):
        run(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(value: float, tmp_path: Path) -> None:
    module = new_module()
    good = loss_for(module)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        return good(step, generator) * (value if step == 12 else 1)

    with pytest.raises(EngineError, match=r"loss of the stage stage is (nan|inf) at step 12"):
        train("stage", module, loss_of, CONFIG, folder=tmp_path, seed=3)
    assert torch.isfinite(weights(module)).all()
    assert (tmp_path / "stage.checkpoint").is_file()
    assert not (tmp_path / "stage.record.json").exists()


def test_the_learning_rate_rises_and_falls() -> None:
    config = LoopConfig(steps=100, learning_rate=1.0, warmup_steps=10)
    rates = [config.learning_rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1)
    assert rates[55] == pytest.approx(0.01 + 0.99 * 0.5)
    assert rates[-1] == pytest.approx(0.01, abs=0.002)
    assert rates[10:] == sorted(rates[10:], reverse=True)
