"""What the README promises exists: commands with their options, make's targets, Python that runs against the engine."""

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
def test_a_command_takes_what_the_readme_gives_it(line: str) -> None:
    _, *words = shlex.split(line, comments=True)
    command = words[:2] if words[0] == "packs" else words[:1]
    shown = subprocess.run(
        [Path(sys.executable).with_name("rewas"), *command, "--help"], text=True, capture_output=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    for option in [word for word in words if word.startswith("-")]:
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", shown.stdout), option


def test_make_knows_the_targets_of_the_readme() -> None:
    targets = {target for target in re.findall(r"`?make (\w+)", README) if target.islower()}
    assert {"demo", "test", "extension", "serve"} <= targets
    for target in targets:
        known = subprocess.run(["make", "--dry-run", target], cwd=ROOT, text=True, capture_output=True, check=False)
        assert known.returncode == 0, known.stderr


def test_the_python_of_the_readme_fits_the_engine() -> None:
    """Each call binds to the signature of what it names; running it would take a model and a film."""
    code = "".join(block for kind, block in BLOCKS if kind == "python")
    compile(code, "README.md", "exec")
    calls = {
        "from_pretrained": ('"starter"',),
        "estimate_energy": ("clip",),
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
    assert "Control(energy=" in code
    control.bind(energy=None)
