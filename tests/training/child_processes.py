"""Separate processes that train, and that may be killed."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch

CONTEXT = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
# The children of one server share its imports, which would take each of them several seconds.
CONTEXT.set_forkserver_preload(["accelerate", "rewas_engine.recipes.part_training", "rewas_engine.recipes.starter"])
START_TIMEOUT_S = 300


@contextmanager
def killed_child(train: Callable[..., object], *arguments: object, said: str) -> Iterator[None]:
    """Train in a child process until it calls wait(said), and kill it with SIGKILL at the end of the block.

    Args:
        train: A function of a module. It is called with `wait` and the arguments.
        arguments: Further arguments.
        said: The text with which `train` calls `wait`.
    """
    here, there = CONTEXT.Pipe()
    child = CONTEXT.Process(target=_train, args=(train, there, torch.get_num_threads(), arguments))
    child.start()
    there.close()
    try:
        assert here.poll(START_TIMEOUT_S)
        assert here.recv() == said
        yield
    finally:
        child.kill()
        child.join()
        here.close()
    assert child.exitcode == -signal.SIGKILL


def _train(train: Callable[..., object], parent: Connection, threads: int, arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(threads)

    def wait(said: str) -> None:
        parent.send(said)
        parent.recv()

    train(wait, *arguments)
