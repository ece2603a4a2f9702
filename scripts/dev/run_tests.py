"""Run the project's checks and end with one summary in pytest's form over all of them.

Each linter counts as one test. Every check runs even after another one has failed, so that one run shows all failures.
The main tests share the processor's cores. The linters and the four Blenders run next to them, two at a time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN_BIN = ROOT / ".venv" / "bin"
MAIN_PYTHON = MAIN_BIN / "python"
BUF = ROOT / ".venv-protoc" / "bin" / "buf"
CONTRACT_BASELINES = sorted((ROOT / "proto" / "baseline").glob("*.binpb"))
BLENDER_VERSIONS = ("4.5", "5.0", "5.2", "4.2")
OTHER_PYTHON = {"5.2": "3.13"}
"""Versions of Blender that need another Python than the project. Machines without it do not set them up."""
SCOPES = ("full", "fast", "weights", "lint")
MOST_WORKERS = 8
"""Each worker holds torch and a few small models, about 1.5 GB."""
LEFT_OUT = {
    "full": "the full measurements of the shipped weights (make test-weights), the add-on in a window (make gui-test)",
    "fast": "tests marked slow, the shipped weights and Blender (make test, make test-weights)",
    "weights": "everything that does not measure the shipped weights (make test)",
    "lint": "all tests (make test)",
}
"""What each scope does not run, for the last lines of its output."""


@dataclass(frozen=True)
class Check:
    """One command.

    Args:
        name: As shown in the summary.
        command: Program and arguments.
        is_pytest: Whether the command is pytest, which counts its own tests.
        is_live: Whether its output is shown while it runs; otherwise it is shown once the check has ended.
    """

    name: str
    command: tuple[str | Path, ...]
    is_pytest: bool = False
    is_live: bool = False


@dataclass
class Outcome:
    """Number of tests of one check by outcome, and the names of those that failed."""

    seconds: float
    counts: Counter[str]
    failures: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.counts["failed"] or self.counts["errors"])


def lint_checks() -> list[Check]:
    return [
        Check("ruff check", (MAIN_BIN / "ruff", "check", ".")),
        Check("ruff format", (MAIN_BIN / "ruff", "format", "--check", ".")),
        Check("mypy", (MAIN_BIN / "mypy",)),
        Check("import layers", (MAIN_BIN / "lint-imports",)),
        Check("buf lint", (BUF, "lint", "proto")),
        *(Check("buf breaking", (BUF, "breaking", "proto", "--against", baseline)) for baseline in CONTRACT_BASELINES),
        Check("documentation site", (MAIN_BIN / "mkdocs", "build", "--strict", "--quiet")),
    ]


def main_tests(scope: str) -> Check:
    chosen: dict[str, tuple[str, ...]] = {
        "full": (),
        "fast": ("-m", "not slow and not weights"),
        "weights": ("-m", "weights", "--release"),
    }
    # One more than there are cores, because tests often wait for a process to start or a server to answer.
    workers = min((os.cpu_count() or 1) + 1, MOST_WORKERS)
    return Check(
        "tests",
        (
            *(MAIN_PYTHON, "-m", "pytest", "tests", "--ignore=tests/blender", "--ignore=tests/gui", *chosen[scope]),
            "--durations=10",
            # A file's tests stay in one process, which sets up what they share once.
            *("-n", str(workers), "--dist=loadfile", "--no-loadscope-reorder"),
            # The same tree gives the same result every time; pytest run by hand draws new examples.
            "--hypothesis-seed=0",
        ),
        is_pytest=True,
        is_live=True,
    )


def blender_python(version: str) -> Path:
    return ROOT / f".venv-blender-{version}" / "bin" / "python"


def blender_tests() -> list[Check]:
    return [
        Check(
            f"tests inside Blender {version}",
            (blender_python(version), "-m", "pytest", "tests/blender"),
            is_pytest=True,
        )
        for version in BLENDER_VERSIONS
        if version not in missing_blenders()
    ]


def missing_blenders() -> list[str]:
    """The versions of Blender that are not set up because this machine lacks their Python."""
    return [version for version in OTHER_PYTHON if not blender_python(version).exists()]


def lanes(scope: str) -> list[list[Check]]:
    """The checks of a scope. Lanes run at the same time, the checks of a lane one after another."""
    if scope == "lint":
        return [lint_checks()]
    if scope == "weights":
        return [[main_tests(scope)]]
    blender = blender_tests() if scope == "full" else []
    # One Blender uses a core for a quarter of its time, so two of them do not hold up the other tests.
    return [[main_tests(scope)], [*lint_checks(), *blender[::2]], blender[1::2]]


def run_lane(checks: Sequence[Check]) -> dict[str, Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        # The versions of Blender test the same zip of the extension, with the same pack.
        variables = {**environment(), "REWAS_BLENDER_FILES": folder}
        return {check.name: run_pytest(check, variables) if check.is_pytest else run_linter(check) for check in checks}


def run_linter(check: Check) -> Outcome:
    """Run a check and show its output only if it fails."""
    start = time.monotonic()
    done = subprocess.run(check.command, cwd=ROOT, env=environment(), text=True, capture_output=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode == 0:
        say(f"--- {check.name}: passed ({seconds:.1f} s)")
        return Outcome(seconds, Counter(passed=1))
    say(f"--- {check.name}: FAILED ({seconds:.1f} s)\n{done.stdout}{done.stderr}")
    return Outcome(seconds, Counter(failed=1), [f"FAILED {check.name}"])


def run_pytest(check: Check, variables: dict[str, str]) -> Outcome:
    """Run pytest and count its tests from the report that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = (*check.command, "-q", f"--junitxml={report}")
        start = time.monotonic()
        if check.is_live:
            say(f"--- {check.name}")
            done = subprocess.run(command, cwd=ROOT, env=variables, text=True, check=False)
        else:
            done = subprocess.run(
                command, cwd=ROOT, env=variables, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            say(f"--- {check.name}\n{done.stdout}")
        outcome = Outcome(time.monotonic() - start, Counter())
        if report.exists():
            for kind, name in read_report(report):
                outcome.counts[kind] += 1
                if kind in ("failed", "errors"):
                    outcome.failures.append(f"FAILED {check.name}: {name}")
    if done.returncode != 0 and not outcome.failed:
        # pytest failed although no test did: it crashed, or it collected nothing.
        outcome.counts["errors"] += 1
        outcome.failures.append(f"ERROR {check.name}: pytest ended with exit status {done.returncode}")
    return outcome


def read_report(report: Path) -> Iterator[tuple[str, str]]:
    """Yield outcome and name of each test in a JUnit report."""
    for case in ElementTree.parse(report).iter("testcase"):
        kind = "passed"
        for tag, meaning in (("failure", "failed"), ("error", "errors"), ("skipped", "skipped")):
            if case.find(tag) is not None:
                kind = meaning
                break
        yield kind, f"{case.get('classname')}::{case.get('name')}"


def environment() -> dict[str, str]:
    # The tests start many processes: without stored byte code, each would compile everything that it imports.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # One thread in each process: the processes together already use every core.
    variables.setdefault("OMP_NUM_THREADS", "1")
    variables.setdefault("GOMP_SPINCOUNT", "10000")
    # The add-on is installed nowhere outside Blender.
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("proto", "server", "addon"))
    return {**variables, "PYTHONPATH": paths}


def summarise(outcomes: dict[str, Outcome], scope: str, seconds: float) -> None:
    say("\n--- all checks")
    for name, outcome in outcomes.items():
        say(f"{'FAILED' if outcome.failed else 'passed'}  {outcome.seconds:7.1f} s  {name}")
    say(f"not run: {LEFT_OUT[scope]}")
    if scope == "full":
        for version in missing_blenders():
            say(
                f"not run: the tests inside Blender {version}, because Python {OTHER_PYTHON[version]} was not found. "
                f"Install it, or run make test PYTHON_3_13=/path/to/python3.13"
            )
    for outcome in outcomes.values():
        for failure in outcome.failures:
            say(failure)
    total = sum((outcome.counts for outcome in outcomes.values()), Counter[str]())
    counted = ", ".join(f"{total[kind]} {kind}" for kind in ("failed", "passed", "skipped", "errors") if total[kind])
    say(f" {counted} in {seconds:.2f}s ".center(80, "="))


_output = threading.Lock()


def say(text: str) -> None:
    with _output:
        print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the project's checks.")
    parser.add_argument("scope", nargs="?", choices=SCOPES, default="full", help="which checks to run (default: full)")
    scope = parser.parse_args().scope
    start = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor() as pool:
        for lane in pool.map(run_lane, lanes(scope)):
            outcomes |= lane
    summarise(outcomes, scope, time.monotonic() - start)
    return int(any(outcome.failed for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
