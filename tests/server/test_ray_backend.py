"""Jobs on a Ray cluster, which runs in a separate network namespace."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT_S = 900


def namespace_command() -> list[str]:
    """The command that runs another one with no network but loopback, where the system allows that."""
    command = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    try:
        probe = subprocess.run(
            [*command, "ip", "link", "set", "lo", "up"], capture_output=True, timeout=30, check=False
        )
        allowed = probe.returncode == 0
    except FileNotFoundError:
        allowed = False
    return [*command, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"] if allowed else []


@pytest.mark.parametrize("tests", ["cluster_jobs.py", "cluster_ends.py"])
def test_jobs_run_on_a_cluster(tmp_path: Path, tests: str) -> None:
    pytest.importorskip("ray.serve")
    # The sockets of Ray need a short path.
    with tempfile.TemporaryDirectory(prefix="ray-") as temporary_folder:
        environment = os.environ | {"HOME": str(tmp_path), "TMPDIR": temporary_folder}
        done = subprocess.run(
            [
                *namespace_command(),
                *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--durations=0"),
                *("--basetemp", tmp_path / "tests", f"tests/server/{tests}"),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
