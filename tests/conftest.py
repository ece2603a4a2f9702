"""Options and settings of all tests."""

import atexit
import contextlib
import gc
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

# Servers announce their tokens in the user's state folder: tests have their own, and so do the processes they start.
STATE_HOME = tempfile.mkdtemp(prefix="rewas-test-state-")
os.environ["XDG_STATE_HOME"] = STATE_HOME
os.environ.pop("REWAS_TOKEN", None)
atexit.register(shutil.rmtree, STATE_HOME, ignore_errors=True)

UMASK = os.umask(0o077)
os.umask(UMASK)

LONGEST_FILES = (
    "server/test_worker_jobs.py",
    "training/test_own_pack.py",
    "server/test_ray_backend.py",
    "training/test_part_training.py",
    "demo/test_demo.py",
    "training/test_starter_stages.py",
    "engine/test_starter_pack.py",
    "evaluation/test_speed_figures.py",
    "cli/test_outputs.py",
    "server/test_crash_points.py",
    "cli/test_commands.py",
    "engine/test_backbones.py",
    "engine/test_memory_limits.py",
    "evaluation/test_suite.py",
    "server/test_server_process.py",
    "server/test_web_browser.py",
    "cli/test_bench.py",
    "server/test_hostile_media.py",
    "server/test_cluster_relay.py",
    "server/test_request_checking.py",
    "timeline/test_blend_files.py",
)
"""The files that take longest, the longest first. `--durations` shows what has changed."""

with contextlib.suppress(ImportError):  # Blender's own environments have no hypothesis.
    from hypothesis import settings

    # Generated examples have no deadline: machines that run tests are busy.
    settings.register_profile("busy machine", deadline=None)
    settings.load_profile("busy machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--release", action="store_true", help="also run the tests marked release, which take long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that only a release needs. Start with the longest files, then with those that have slow tests.

    With several processes a long file that starts last keeps one of them busy while the others wait.
    """
    if not config.getoption("--release"):
        left_out = [item for item in items if item.get_closest_marker("release")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
    order = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST_FILES)}
    if gone := [str(path) for path in order if not path.is_file()]:
        raise pytest.UsageError(f"LONGEST_FILES in tests/conftest.py names files that do not exist: {', '.join(gone)}")
    slow_tests = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (order.get(item.path, len(order)), -slow_tests[item.path]))


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect no garbage while all test files and their imports are loaded. Collecting it took half of that time.

    What is loaded stays, so later collections leave it out.
    """
    gc.disable()
    yield
    gc.enable()
    gc.freeze()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Restore the umask for the next test: code that a test runs in this process may set that of a server."""
    yield
    os.umask(UMASK)


@pytest.fixture(scope="session")
def is_release(pytestconfig: pytest.Config) -> bool:
    """Whether the shipped weights are measured in full, before a release."""
    return bool(pytestconfig.getoption("--release"))
