"""Options and settings of all tests."""

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

# Servers announce their tokens in the user's state folder: tests have their own, and so do the processes they start.
STATE_HOME = tempfile.mkdtemp(prefix="rewas-test-state-")
os.environ["XDG_STATE_HOME"] = STATE_HOME
os.environ.pop("REWAS_TOKEN", None)
atexit.register(shutil.rmtree, STATE_HOME, ignore_errors=True)

UMASK = os.umask(0o077)
os.umask(UMASK)

with contextlib.suppress(ImportError):  # Blender's own environments have no hypothesis.
    from hypothesis import settings

    # Generated examples have no deadline: machines that run tests are busy.
    settings.register_profile("busy machine", deadline=None)
    settings.load_profile("busy machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--release", action="store_true", help="also run the tests marked release, which take long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a release needs, and start the files with the most slow tests first.

    With several processes a long file that starts last keeps one of them busy while the others wait.
    """
    if not config.getoption("--release"):
        left_out = [item for item in items if item.get_closest_marker("release")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
    slow_tests = dict.fromkeys((item.path for item in items), 0)
    for item in items:
        slow_tests[item.path] += item.get_closest_marker("slow") is not None
    items.sort(key=lambda item: -slow_tests[item.path])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Give the next test the umask back: what a test runs in this process may set the umask of a server."""
    yield
    os.umask(UMASK)


@pytest.fixture(scope="session")
def is_release(pytestconfig: pytest.Config) -> bool:
    """Whether the shipped weights are measured in full, before a release."""
    return bool(pytestconfig.getoption("--release"))
