"""Pin everything that a release installs, with hashes, and check the pins before a release.

    scripts/dev/lock_release.py            write release.txt and cluster.txt in scripts/dev/constraints
    scripts/dev/lock_release.py --check    fail if they do not fit pyproject.toml, or if a version has a known weakness

Writing needs uv, and the check for weaknesses needs pip-audit; both need the network. Users install the release with
`pip install --require-hashes -r release.txt`, then the two wheels of the project with `pip install --no-deps`. On a
server or in an image that runs Ray, use `cluster.txt` instead of `release.txt`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "scripts" / "dev" / "constraints"
RELEASE_FILE, CLUSTER_FILE = CONSTRAINTS / "release.txt", CONSTRAINTS / "cluster.txt"
OWN_PACKAGES = frozenset({"rewas-api", "rewas-nle"})
_EXTRAS = ("plots", "otio-formats", "c2pa", "flow", "tls", "postgres", "s3")
EXTRAS = {RELEASE_FILE: _EXTRAS, CLUSTER_FILE: (*_EXTRAS, "ray")}
"""Extras that each file pins. Training is left out: it needs a development environment."""
HEADER = "# Written by scripts/dev/lock_release.py from pyproject.toml and proto/pyproject.toml.\n"
PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="check the file instead of writing it")
    arguments = parser.parse_args()
    if not arguments.check:
        return lock()
    problems = [
        f"{file.name}: {problem}"
        for file, extras in EXTRAS.items()
        for problem in find_problems(file.read_text(encoding="utf-8"), extras)
    ]
    for problem in problems:
        print(f"lock_release: {problem}", file=sys.stderr)
    return 1 if problems else audit()


def requirements_of(extras: Sequence[str]) -> list[str]:
    """Return the requirements of the project's packages and of these extras."""
    wanted: dict[str, None] = {}
    for path in (ROOT / "pyproject.toml", ROOT / "proto" / "pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        optional = project.get("optional-dependencies", {})
        for text in [*project["dependencies"], *(each for extra in extras for each in optional.get(extra, ()))]:
            if canonicalize_name(Requirement(text).name) not in OWN_PACKAGES:
                wanted[text] = None
    return list(wanted)


def lock() -> int:
    """Write the files for all systems and for Python 3.11 and later."""
    uv = shutil.which("uv")
    if uv is None:
        print("lock_release: uv is missing. Install it with `pip install uv`.", file=sys.stderr)
        return 1
    torch = re.search(r"^TORCH \?= (torch==\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert torch is not None
    with tempfile.TemporaryDirectory() as folder:
        for file, extras in EXTRAS.items():
            wanted, output = Path(folder) / "wanted.in", Path(folder) / file.name
            wanted.write_text("\n".join([*requirements_of(extras), torch.group(1)]) + "\n", encoding="utf-8")
            command = [uv, "pip", "compile", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
            command += ["--quiet", "--python-version", "3.11", "--constraint", str(CONSTRAINTS / "main.txt")]
            completed = subprocess.run([*command, "--output-file", str(output), str(wanted)], check=False)
            if completed.returncode != 0:
                return completed.returncode
            file.write_text(HEADER + output.read_text(encoding="utf-8"), encoding="utf-8")
            print(f"{file} ({len(PIN.findall(file.read_text(encoding='utf-8')))} packages)")
    return 0


def find_problems(text: str, extras: Sequence[str]) -> list[str]:
    """Return what is wrong with the pins: packages that are missing, do not fit, or have no hash.

    text: the content of the file. extras: the extras that it pins.
    """
    pinned = {canonicalize_name(name): version for name, version in PIN.findall(text)}
    problems = []
    for requirement in map(Requirement, requirements_of(extras)):
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            problems.append(f"{requirement.name} is not pinned.")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{requirement.name} is pinned to {version}, but {requirement.specifier} is required.")
    blocks = re.split(r"\n(?=[\w-])", "\n".join(line for line in text.splitlines() if not line.startswith("#")).strip())
    problems += [f"{block.split()[0]} has no hash." for block in blocks if "--hash=sha256:" not in block]
    return problems


def audit() -> int:
    """Ask pip-audit for known weaknesses of the pinned versions. A version that it cannot look up is a failure too."""
    if shutil.which("pip-audit") is None:
        print("lock_release: pip-audit is missing. Install it with `pip install pip-audit`.", file=sys.stderr)
        return 1
    # It also contains the pins of release.txt.
    command = ["pip-audit", "--strict", "--require-hashes", "--disable-pip", "--requirement", str(CLUSTER_FILE)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
