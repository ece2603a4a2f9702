"""Commands, options, make targets and Python examples in the README are valid."""

import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import rewas_engine

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHELL_LINES = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
REWAS_LINES = [line for line in SHELL_LINES if "bin/rewas" in line]


@pytest.mark.parametrize("line", REWAS_LINES)
def test_commands_have_the_options_in_the_readme(line: str) -> None:
    _, *words = shlex.split(line, comments=True)
    command = words[:2] if words[0] == "packs" else words[:1]
    shown = subprocess.run(
        [Path(sys.executable).with_name("rewas"), *command, "--help"], text=True, capture_output=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    for option in [word for word in words if word.startswith("-")]:
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", shown.stdout), option


def test_make_targets_in_the_readme_exist() -> None:
    targets = {target for target in re.findall(r"`?make (\w+)", README) if target.islower()}
    assert {"demo", "test", "extension", "serve"} <= targets
    for target in targets:
        known = subprocess.run(["make", "--dry-run", target], cwd=ROOT, text=True, capture_output=True, check=False)
        assert known.returncode == 0, known.stderr


def test_python_in_the_readme_matches_the_engine() -> None:
    """Each call binds to the signature of its function. Running it would need a model and a video."""
    code = "".join(block for kind, block in BLOCKS if kind == "python")
    compile(code, "README.md", "exec")
    calls = {
        "from_pretrained": ('"starter"',),
        "generate": ("clip", "prompt", "control", "seed"),
    }
    for name, given in calls.items():
        assert f".{name}(" in code
        signature = inspect.signature(getattr(rewas_engine.ReWaS, name))
        for keyword in given[1:]:
            assert keyword in signature.parameters, f"{name}({keyword}=…)"
    clip = inspect.signature(rewas_engine.VideoClip)
    clip.bind("shot.mp4", start=3, duration=5)
    control = inspect.signature(rewas_engine.Control)
    assert "Control(edits=" in code
    control.bind(edits=[])
