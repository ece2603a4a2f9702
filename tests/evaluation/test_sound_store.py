"""The store of generated sounds: repeated requests are read from it, and other requests never match."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pack_fixtures import TWO_CLASSES, tiny_model, untrained_judge

from rewas_engine import ReWaS, Sampling
from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.bench import Bench, Watch, bench_clips
from rewas_engine.evaluation.sound_store import Request, SoundStore
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.packs.description import read_pack

SETTINGS = SamplingSettings(2, 1.0, 1.0, 0.0)
ENERGY = np.linspace(-9, -3, 512).astype(np.float32)
REQUEST = Request(["a bell", "rain"], [Controls(energy=ENERGY)] * 2, [1, 2], SETTINGS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    return tiny_model(tmp_path_factory.mktemp("pack"))


def open_store(folder: Path, model: ReWaS, device: str = "cpu") -> SoundStore:
    return SoundStore(folder, read_pack(model.pack.path), device)


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, prompts=["a bell", "wind"]),
        replace(REQUEST, seeds=[1, 3]),
        replace(REQUEST, settings=replace(SETTINGS, guidance_scale=1.5)),
        replace(REQUEST, controls=[Controls(energy=ENERGY), Controls(energy=ENERGY + np.float32(1e-4))]),
        replace(REQUEST, controls=[Controls(onsets=ENERGY)] * 2),
    ],
)
def test_different_requests_have_different_digests(other: Request) -> None:
    assert other.digest() != REQUEST.digest()
    assert replace(REQUEST).digest() == REQUEST.digest()


def test_stored_sounds_are_not_generated_again(tmp_path: Path, model: ReWaS) -> None:
    generated = np.random.default_rng(0).normal(size=(2, 512, 64)).astype(np.float32)
    store = open_store(tmp_path, model)
    assert np.array_equal(store.get(REQUEST, lambda request: generated), generated)

    def refuse(request: Request) -> np.ndarray:
        raise AssertionError("generated again")

    assert np.array_equal(open_store(tmp_path, model).get(REQUEST, refuse), generated)
    with pytest.raises(AssertionError, match="generated again"):
        open_store(tmp_path, model, "cuda:0").get(REQUEST, refuse)
    assert not list(tmp_path.rglob("*.partial*"))


def test_a_bench_with_a_store_gives_the_same_sounds(tmp_path: Path, model: ReWaS) -> None:
    clips = bench_clips(DEVELOPMENT, TWO_CLASSES, 3, model.front_end, Watch())
    settings = model.sampling_settings(Sampling(num_inference_steps=1, guidance_scale=1.0))
    plain = Bench(model, untrained_judge(), clips, settings, Watch()).plain
    first = Bench(model, untrained_judge(), clips, settings, Watch(), open_store(tmp_path, model)).plain
    files = list(tmp_path.rglob("*.npy"))
    assert len(files) == 2
    files[0].unlink()
    second = Bench(model, untrained_judge(), clips, settings, Watch(), open_store(tmp_path, model)).plain
    assert np.array_equal(first, plain)
    assert np.array_equal(second, plain)
    assert len(list(tmp_path.rglob("*.npy"))) == 2


def test_the_order_contains_all_parts() -> None:
    assert sorted(SoundStore.order(135)) == list(range(135))
