"""Ray on this machine: a process that starts it on loopback, deploys the application, and ends both with its server.

    python -m rewas_server.cluster.local

It reads one JSON object from standard input, writes the port of the application to standard output, and ends when its
input closes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from typing import Any

from rewas_server.cluster.remote_work import ClusterSettings
from rewas_server.files.private_files import keep_new_files_private
from rewas_server.logs import LogPrivacy, log_to_server

HOST = "127.0.0.1"
APP_NAME = "rewas"
OBJECT_STORE_BYTES = 512 * 1024**2
"""Memory that Ray's processes share. It holds requests and results while they are passed on."""
END_TIMEOUT_S = 8.0
_log = logging.getLogger("rewas.cluster")


def main() -> None:
    """Run until standard input closes."""
    keep_new_files_private()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    given = json.loads(sys.stdin.buffer.readline())
    log_to_server("cluster", LogPrivacy(), given.pop("log_level").upper())
    # Ray's sockets need a short path.
    folder = tempfile.mkdtemp(prefix="rewas-ray-", dir=None if len(tempfile.gettempdir()) < 40 else "/tmp")
    try:
        port = _start(ClusterSettings(**given), folder)
        print(port, file=output, flush=True)
        sys.stdin.buffer.read()
    finally:
        _stop(folder)


def _start(settings: ClusterSettings, folder: str) -> int:
    """Start Ray and the application, and return its port. The replicas may not be ready yet."""
    # Other users of this machine can connect to the ports of Ray, and could run code there.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    # The same priority as a local worker. By default, Ray lowers the priority of its workers.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ["TMPDIR"] = folder
    import ray
    from ray import serve

    from rewas_server.cluster.app import build_app

    cpus = max(os.cpu_count() or 1, settings.max_replicas)
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        namespace=APP_NAME,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _node_ip_address=HOST,
        _temp_dir=folder,
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    arguments = settings.to_arguments() | {"cpus_per_replica": float(cpus // settings.max_replicas)}
    if settings.device != "cpu" and ray.cluster_resources().get("GPU", 0):
        arguments["gpus_per_replica"] = 1.0
    port = _free_port()
    serve.start(http_options={"host": HOST, "port": port}, logging_config={"log_level": "WARNING"})
    target: Any = serve.RunTarget(build_app(arguments), name=APP_NAME, route_prefix="/")
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    _log.info("Ray %s runs on this machine, with up to %d replicas.", ray.__version__, settings.max_replicas)
    return port


def _stop(folder: str) -> None:
    # Nothing is lost if this takes too long: Ray's processes end with this one.
    threading.Timer(END_TIMEOUT_S, os._exit, (1,)).start()
    with contextlib.suppress(Exception):
        import ray

        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
