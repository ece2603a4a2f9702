"""A worker that never finishes loading its pack: its server accepts jobs and runs none.

Servers without a model start in a fraction of the time, and their jobs wait for as long as a test needs.
"""

import sys
import threading
from typing import BinaryIO

from rewas_engine.runtime.parent_death import end_with_parent
from rewas_server.worker import messages
from rewas_server.worker.run import HEARTBEAT_S


def main() -> None:
    """Run until standard input closes."""
    end_with_parent()
    start = messages.from_line(sys.stdin.buffer.readline())
    assert isinstance(start, messages.Start)
    send(sys.stdout.buffer, messages.Loading(start.default_pack))
    has_ended = threading.Event()
    threading.Thread(target=read, args=(sys.stdin.buffer, has_ended), daemon=True).start()
    while not has_ended.wait(HEARTBEAT_S):
        send(sys.stdout.buffer, messages.Heartbeat())


def send(output: BinaryIO, message: messages.Message) -> None:
    output.write(messages.to_line(message))
    output.flush()


def read(source: BinaryIO, has_ended: threading.Event) -> None:
    for _ in source:
        pass
    has_ended.set()


if __name__ == "__main__":
    main()
