"""Checks with buf: the contract is clean and compatible with its baseline, and planted violations are caught."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rewas_api import CONTRACT_VERSION

ROOT = Path(__file__).resolve().parents[2]
BUF = ROOT / ".venv-protoc" / "bin" / "buf"
BASELINE = ROOT / "proto" / "baseline" / f"contract-{CONTRACT_VERSION}.binpb"


def run_buf(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert BUF.exists(), "make test creates .venv-protoc, which has the pinned buf"
    return subprocess.run([BUF, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "proto" / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "proto" / "rewas", tmp_path / "rewas")
    return tmp_path


def plant(copy: Path, old: str, new: str) -> None:
    file = copy / "rewas" / "v1" / "rewas.proto"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_only_baseline_is_that_of_the_contract_version() -> None:
    """A new CONTRACT_VERSION without a new baseline, or the other way round, fails here."""
    assert list(BASELINE.parent.iterdir()) == [BASELINE]


def test_the_contract_is_clean_and_compatible(copy: Path) -> None:
    for completed in (run_buf("lint", copy), run_buf("breaking", copy, "--against", BASELINE)):
        assert (completed.returncode, completed.stdout + completed.stderr) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("service RewasService {", "service Rewas {", "SERVICE_SUFFIX"),
        ("  TAKE_FAULT_CLIPPED = 2;", "  CLIPPED = 2;", "ENUM_VALUE_PREFIX"),
        ("  bool present = 1;", "  bool isPresent = 1;", "FIELD_LOWER_SNAKE_CASE"),
        ("  // True if the file need not be uploaded.\n", "", "COMMENT_FIELD"),
        (
            "rpc GetJob(GetJobRequest) returns (GetJobResponse)",
            "rpc GetJob(GetJobRequest) returns (Job)",
            "RPC_RESPONSE_STANDARD_NAME",
        ),
    ],
)
def test_planted_style_violations_are_caught(copy: Path, old: str, new: str, rule: str) -> None:
    plant(copy, old, new)
    completed = run_buf("lint", copy, "--error-format", "json")
    assert completed.returncode != 0
    assert f'"type":"{rule}"' in completed.stdout


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("  bool present = 1;", "  bool present = 9;", "FIELD_NO_DELETE"),
        ("  bool present = 1;", "  uint32 present = 1;", "FIELD_SAME_TYPE"),
        ("  bool present = 1;", "  bool found = 1;", "FIELD_SAME_NAME"),
        ("  // The sound is clipped.\n  TAKE_FAULT_CLIPPED = 2;\n", "", "ENUM_VALUE_NO_DELETE"),
        ("service RewasService {", "service SoundService {", "SERVICE_NO_DELETE"),
    ],
)
def test_planted_breaking_changes_are_caught(copy: Path, old: str, new: str, rule: str) -> None:
    plant(copy, old, new)
    completed = run_buf("breaking", copy, "--against", BASELINE, "--error-format", "json")
    assert completed.returncode != 0
    assert f'"type":"{rule}"' in completed.stdout


def test_additions_are_compatible(copy: Path) -> None:
    plant(
        copy, "  bool present = 1;", "  bool present = 1;\n  // Size of the file, in bytes.\n  uint64 size_bytes = 9;"
    )
    for completed in (run_buf("lint", copy), run_buf("breaking", copy, "--against", BASELINE)):
        assert (completed.returncode, completed.stdout + completed.stderr) == (0, "")
