"""What a release installs is pinned with hashes, and fits pyproject.toml."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "dev" / "lock_release.py"


@pytest.fixture(scope="module")
def lock_release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock_release", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_requirement_is_pinned_with_a_hash(lock_release: ModuleType) -> None:
    for file, extras in lock_release.EXTRAS.items():
        assert lock_release.find_problems(file.read_text(encoding="utf-8"), extras) == []


@pytest.mark.parametrize(
    ("pattern", "replacement", "problem"),
    [
        (r"^grpcio==.*\n(    --hash.*\n)+", "", "grpcio is not pinned."),
        (r"^grpcio==[^ ]+", "grpcio==1.0.0", "grpcio is pinned to 1.0.0"),
        (r"(^grpcio==[^ ]+) \\\n(    --hash.*\n)+", r"\1\n", "has no hash"),
    ],
)
def test_a_pin_that_is_wrong_is_found(lock_release: ModuleType, pattern: str, replacement: str, problem: str) -> None:
    extras = lock_release.EXTRAS[lock_release.RELEASE_FILE]
    text = lock_release.RELEASE_FILE.read_text(encoding="utf-8")
    changed = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    assert changed != text
    assert any(problem in found for found in lock_release.find_problems(changed, extras))


def pins(lock_release: ModuleType, file: Path) -> dict[str, str]:
    return dict(lock_release.PIN.findall(file.read_text(encoding="utf-8")))


def test_the_tested_versions_are_those_of_the_release(lock_release: ModuleType) -> None:
    """main.txt pins what the tests use, and the other files what users install."""
    tested = pins(lock_release, ROOT / "scripts/dev/constraints/main.txt")
    for file in lock_release.EXTRAS:
        released = pins(lock_release, file)
        assert {name for name in set(tested) & set(released) if tested[name] != released[name]} == set()


def test_only_servers_with_ray_install_ray(lock_release: ModuleType) -> None:
    release, cluster = pins(lock_release, lock_release.RELEASE_FILE), pins(lock_release, lock_release.CLUSTER_FILE)
    assert release.items() <= cluster.items()
    assert "ray" in cluster
    assert "ray" not in release
