"""Several jobs in one process share its packs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from rewas_engine import Execution, ReWaS
from rewas_engine.recordings.library_pack import LibraryTerms, make_library
from rewas_engine.runtime.offloading import PackComponents
from rewas_server.logs import LogPrivacy
from rewas_server.worker import messages
from rewas_server.worker.job_runner import JobRunner, PackSettings


def test_jobs_that_need_the_same_pack_load_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loading, may_end, loads = threading.Event(), threading.Event(), []

    def load(pack: str, **options: object) -> SimpleNamespace:
        loads.append(pack)
        loading.set()
        assert may_end.wait(60)
        return SimpleNamespace(device="cpu", execution=Execution(), pack=SimpleNamespace(is_library=False))

    monkeypatch.setattr(ReWaS, "from_pretrained", load)
    sent: list[messages.Message] = []
    runner = JobRunner(PackSettings("tiny", "cpu"), sent.append, LogPrivacy())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(runner._load, "tiny")
        assert loading.wait(60)
        second = pool.submit(runner._load, "tiny")
        may_end.set()
        assert first.result() is second.result()
    assert loads == ["tiny"]
    assert sent == [messages.Loaded("tiny", "cpu", ("tiny",))]


def test_an_updated_library_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWAS_PACKS", str(tmp_path / "packs"))
    (tmp_path / "sounds").mkdir()

    def update(name: str) -> None:
        sound = np.random.default_rng(len(name)).normal(0, 0.1, 48_000)
        soundfile.write(tmp_path / "sounds" / name, sound, 48_000)
        make_library(
            [tmp_path / "sounds"],
            tmp_path / "packs" / "foley",
            LibraryTerms(),
            lambda words: np.ones((len(words), 384)),
        )

    update("rain.wav")
    sent: list[messages.Message] = []
    runner = JobRunner(PackSettings("foley", "cpu"), sent.append, LogPrivacy())
    first = runner._load("foley")
    assert runner._load("foley") is first
    update("brook.wav")
    second = runner._load("foley")
    assert second.pack.content_sha256 != first.pack.content_sha256
    assert runner._load("foley") is second
    # A library that is gone from the disk stays loaded.
    (tmp_path / "packs" / "foley" / "pack.toml").unlink()
    assert runner._load("foley") is second


def test_threads_that_use_a_pack_with_low_memory_do_not_disturb_each_other() -> None:
    from torch import nn

    roles = ["text_encoder", "denoiser", "codec", "vocoder"]
    components = PackComponents(lambda role: nn.Linear(1, 1), roles, low_memory=True)

    def use(first: int) -> None:
        for number in range(300):
            assert isinstance(components[roles[(first + number) % len(roles)]], nn.Linear)
            if number % 7 == 0:
                components.offload()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    components.offload()
    assert components.loaded_roles == ()
