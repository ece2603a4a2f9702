"""Run every check of the project and end with one summary, in pytest's own form, over all of them.

Style, types and layers count as one test each. All checks run even when an early one fails, so that one run tells all.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN_PYTHON = ROOT / ".venv" / "bin" / "python"
BLENDER_VERSIONS = ("4.5", "5.0", "4.2")


@dataclass(frozen=True)
class Check:
    """One command; ``is_pytest`` says that it writes its own count of tests."""

    name: str
    command: tuple[str | Path, ...]
    is_pytest: bool = False


@dataclass
class Outcome:
    """What came of one check: how many tests ended how, and the names of those that did not pass."""

    seconds: float
    counts: Counter[str]
    troubles: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.counts["failed"] or self.counts["errors"])


def lint_checks() -> list[Check]:
    bin_folder = MAIN_PYTHON.parent
    return [
        Check("ruff check", (bin_folder / "ruff", "check", ".")),
        Check("ruff format", (bin_folder / "ruff", "format", "--check", ".")),
        Check("mypy", (bin_folder / "mypy",)),
        Check("import layers", (bin_folder / "lint-imports",)),
        Check("documentation site", (bin_folder / "mkdocs", "build", "--strict", "--quiet")),
    ]


def test_checks() -> list[Check]:
    # The same tree passes or fails every time; whoever runs pytest by hand draws new examples.
    drawing = "--hypothesis-seed=0"
    main = Check(
        "tests",
        (MAIN_PYTHON, "-m", "pytest", "tests", "--ignore=tests/blender", drawing, "--durations=8"),
        is_pytest=True,
    )
    inside_blender = [
        Check(
            f"tests inside Blender {version}",
            (ROOT / f".venv-blender-{version}" / "bin" / "python", "-m", "pytest", "tests/blender"),
            is_pytest=True,
        )
        for version in BLENDER_VERSIONS
    ]
    return [main, *inside_blender]


def run(check: Check) -> Outcome:
    return run_pytest(check) if check.is_pytest else run_quietly(check)


def run_quietly(check: Check) -> Outcome:
    """Run a check that speaks only when something is wrong."""
    start = time.monotonic()
    done = subprocess.run(check.command, cwd=ROOT, env=environment(), text=True, capture_output=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode == 0:
        say(f"{check.name}: passed ({seconds:.1f} s)")
        return Outcome(seconds, Counter(passed=1))
    say(f"{check.name}: FAILED ({seconds:.1f} s)\n{done.stdout}{done.stderr}")
    return Outcome(seconds, Counter(failed=1), [f"FAILED {check.name}"])


def run_pytest(check: Check) -> Outcome:
    """Run pytest with its output shown, then read its count from the report that it leaves."""
    say(f"\n--- {check.name}")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        start = time.monotonic()
        done = subprocess.run((*check.command, "-q", f"--junitxml={report}"), cwd=ROOT, env=environment(), check=False)
        seconds = time.monotonic() - start
        outcome = Outcome(seconds, Counter())
        if report.exists():
            for kind, name in read_report(report):
                outcome.counts[kind] += 1
                if kind in ("failed", "errors"):
                    outcome.troubles.append(f"FAILED {check.name}: {name}")
    if done.returncode != 0 and not outcome.failed:
        # No test failed and yet pytest did: a crash, or nothing was collected. That must not look like success.
        outcome.counts["errors"] += 1
        outcome.troubles.append(f"ERROR {check.name}: pytest ended with exit status {done.returncode}")
    return outcome


def read_report(report: Path) -> Iterator[tuple[str, str]]:
    for case in ElementTree.parse(report).iter("testcase"):
        kind = "passed"
        for tag, meaning in (("failure", "failed"), ("error", "errors"), ("skipped", "skipped")):
            if case.find(tag) is not None:
                kind = meaning
                break
        yield kind, f"{case.get('classname')}::{case.get('name')}"


def environment() -> dict[str, str]:
    # The tests start hundreds of processes: each would compile all that it imports where byte code is not kept.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # Threads that wait for each other take turns with whatever else runs, as in the command itself.
    kept.setdefault("GOMP_SPINCOUNT", "10000")
    # The add-on is installed nowhere outside Blender, so the tools are told where it lies.
    return {**kept, "PYTHONPATH": os.pathsep.join(str(ROOT / room) for room in ("proto", "server", "addon"))}


def summarise(outcomes: dict[str, Outcome]) -> None:
    say("\n--- all checks")
    for name, outcome in outcomes.items():
        say(f"{'FAILED' if outcome.failed else 'passed'}  {outcome.seconds:7.1f} s  {name}")
    for outcome in outcomes.values():
        for trouble in outcome.troubles:
            say(trouble)
    total = sum((outcome.counts for outcome in outcomes.values()), Counter[str]())
    counted = ", ".join(f"{total[kind]} {kind}" for kind in ("failed", "passed", "skipped", "errors") if total[kind])
    say(f" {counted} in {sum(outcome.seconds for outcome in outcomes.values()):.2f}s ".center(80, "="))


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run every check of the project.")
    parser.add_argument("--only", choices=("lint", "tests"), help="leave the other kind out")
    only = parser.parse_args().only
    checks = [*(lint_checks() if only != "tests" else []), *(test_checks() if only != "lint" else [])]
    outcomes = {check.name: run(check) for check in checks}
    summarise(outcomes)
    return int(any(outcome.failed for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
