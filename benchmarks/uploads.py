"""Measure what an upload costs the server: memory, CPU time and throughput, with a real client on loopback.

`python benchmarks/uploads.py --size-mb 2000` prints one JSON object. `--senders 4` sends four files at the same time,
and `--message-mb 60` sends messages of a size that the server refuses, as a hostile client does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))

from isolated_decoding import process_cpu_s
from server_process import memory_bytes

from rewas_api.access import AUTHORIZATION_KEY, announced_token_path, read_token_file
from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc

BLOCK_BYTES = 2**20


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=2000)
    parser.add_argument("--senders", type=int, default=1)
    parser.add_argument("--message-mb", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, run_server(Path(folder) / "state") as (pid, address):
        result = {"size_mb": options.size_mb, "senders": options.senders, "message_mb": options.message_mb}
        with ThreadPoolExecutor(options.senders) as threads, RewasClient(address) as client:
            client.get_server_info()
            if options.message_mb:
                work = [threads.submit(send_large_message, address, options.message_mb) for _ in range(options.senders)]
                start = measure(pid)
            else:
                paths = [Path(folder) / f"{number}.mov" for number in range(options.senders)]
                for number, path in enumerate(paths):
                    write_file(path, options.size_mb * 10**6, number)
                # The first upload imports what every later one uses.
                write_file(Path(folder) / "first.mov", BLOCK_BYTES, -1)
                client.upload_media(Path(folder) / "first.mov")
                start = measure(pid)
                work = [threads.submit(client.upload_media, path) for path in paths]
            began_s = time.perf_counter()
            for one in work:
                one.result()
        end = measure(pid, reset=False)
        duration_s = time.perf_counter() - began_s
        result |= {
            "seconds": round(duration_s, 2),
            "mb_per_s": round(options.size_mb * options.senders / duration_s) if not options.message_mb else None,
            "server_cpu_s": round(end["cpu_s"] - start["cpu_s"], 2),
            "memory_before_mb": round(start["memory_mb"], 1),
            "peak_growth_mb": round(end["peak_mb"] - start["memory_mb"], 1),
        }
    print(json.dumps(result, indent=1))


@contextmanager
def run_server(state_dir: Path) -> Iterator[tuple[int, str]]:
    """Run a server. Yields its process id and address."""
    command = [sys.executable, "-m", "rewas_cli.main", "serve", "--port", "0", "--state-dir", str(state_dir)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            found = re.search(r"listens on ([\d.]+:\d+)", line)
            if found:
                yield process.pid, found[1]
                break
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def measure(pid: int, *, reset: bool = True) -> dict[str, float]:
    """Return the memory of a process now and at its peak, and its CPU time. reset: start a new peak."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return {
        "memory_mb": memory_bytes(pid, "VmRSS") / 1e6,
        "peak_mb": memory_bytes(pid) / 1e6,
        "cpu_s": process_cpu_s(pid),
    }


def write_file(path: Path, size_bytes: int, number: int) -> None:
    """Write a file whose blocks differ."""
    seed = hashlib.sha256(str(number).encode()).digest() * (BLOCK_BYTES // 32)
    with path.open("wb") as file:
        for block in range(0, size_bytes, BLOCK_BYTES):
            file.write((block.to_bytes(8, "big") + seed[8:])[: size_bytes - block])


def send_large_message(address: str, size_mb: int) -> None:
    """Send an upload in one message."""
    token = read_token_file(announced_token_path(int(address.rpartition(":")[2])))
    data = bytes(size_mb * 10**6)
    header = rewas_pb2.UploadHeader(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    messages = [rewas_pb2.UploadMediaRequest(header=header), rewas_pb2.UploadMediaRequest(data=data)]
    with grpc.insecure_channel(address) as channel:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        try:
            stub.UploadMedia(iter(messages), metadata=((AUTHORIZATION_KEY, f"Bearer {token}"),))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return
    raise SystemExit("The server accepted the message.")


if __name__ == "__main__":
    main()
