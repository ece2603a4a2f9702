"""Several jobs in one process share its packs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from rewas_engine import Execution, ReWaS
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
        return SimpleNamespace(device="cpu", execution=Execution())

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
