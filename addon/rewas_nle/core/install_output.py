# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the output of pip and uv: the progress of an installation, and why it failed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .messages import Problem

_COLLECTING_SHARE = 0.8
"""The part of the time that finding and downloading packages takes; the rest is unpacking."""

_NAME = r"([A-Za-z0-9][\w.-]*)"


@dataclass(frozen=True)
class InstallProgress:
    """Progress of the installation of packages. text: what is happening now. fraction: 0 to 1."""

    text: str
    fraction: float


class InstallOutput:
    """Follows the lines that pip or uv print. package_count: the number of packages to install, roughly."""

    def __init__(self, package_count: int) -> None:
        self._package_count = max(package_count, 1)
        self._found = 0
        self._fraction = 0.0
        self._name = "packages"

    def read(self, line: str) -> InstallProgress | None:
        """Return the progress after a line, or None if the line says nothing about it. Progress never goes back."""
        text, fraction = self._read(line)
        if not text:
            return None
        self._fraction = max(self._fraction, min(fraction, 1.0))
        return InstallProgress(text, self._fraction)

    def _read(self, line: str) -> tuple[str, float]:
        for pattern, describe in _DESCRIPTIONS:
            if found := pattern.match(line):
                return describe(self, found)
        return "", 0.0

    def _raw_progress(self, found: re.Match[str]) -> tuple[str, float]:
        done, total = int(found[1]), max(int(found[2]), 1)
        text = f"Downloading {self._name}: {done // 10**6} of {total // 10**6} MB"
        return text, self._share(self._found - 1 + done / total)

    def _collecting(self, found: re.Match[str]) -> tuple[str, float]:
        self._found += 1
        self._name = found[1]
        return f"Looking for {found[1]} ({self._found} of about {self._package_count})", self._share(self._found - 1)

    def _downloading(self, found: re.Match[str]) -> tuple[str, float]:
        self._name = found[1].replace("_", "-")
        size = f" ({found[2]})" if found[2] else ""
        return f"Downloading {self._name}{size}", self._share(self._found - 1)

    def _uv_downloading(self, found: re.Match[str]) -> tuple[str, float]:
        return f"Downloading {found[1]} ({found[2]} {found[3]})", self._share(self._found)

    def _uv_downloaded(self, found: re.Match[str]) -> tuple[str, float]:
        self._found += 1
        return f"Downloaded {found[1]}", self._share(self._found)

    def _uv_resolved(self, found: re.Match[str]) -> tuple[str, float]:
        self._package_count = max(int(found[1]), 1)
        return f"Downloading {found[1]} packages", 0.05

    def _unpacking(self, found: re.Match[str]) -> tuple[str, float]:
        return "Unpacking the packages", _COLLECTING_SHARE

    def _installed(self, found: re.Match[str]) -> tuple[str, float]:
        return "Installed the packages", 1.0

    def _share(self, packages: float) -> float:
        return _COLLECTING_SHARE * min(max(packages, 0) / self._package_count, 1.0)


_DESCRIPTIONS: tuple[tuple[re.Pattern[str], Callable[[InstallOutput, re.Match[str]], tuple[str, float]]], ...] = (
    (re.compile(r"^Progress (\d+) of (\d+)"), InstallOutput._raw_progress),
    (re.compile(rf"^(?:Collecting|Requirement already satisfied:) {_NAME}"), InstallOutput._collecting),
    (re.compile(rf"^Downloading {_NAME} \(([\d.]+) ?(\w+)\)$"), InstallOutput._uv_downloading),
    (
        re.compile(r"^\s+Downloading \S*?([A-Za-z0-9][\w.]*)-\d[^\s/]*(?: \(([\d.]+ \w+)\))?"),
        InstallOutput._downloading,
    ),
    (re.compile(rf"^\s*Downloaded {_NAME}"), InstallOutput._uv_downloaded),
    (re.compile(r"^Resolved (\d+) package"), InstallOutput._uv_resolved),
    (re.compile(r"^(?:Prepared \d+ package|Installing collected packages: )"), InstallOutput._unpacking),
    (re.compile(r"^(?:Successfully installed|Installed \d+ package|Checked \d+ package)"), InstallOutput._installed),
)

_PINNED_NAME = rf"{_NAME[:-1]}(?:==[\w.+-]+)?)"
_MISSING = (
    # pip calls it a conflict if nothing fits a constraint.
    re.compile(rf"^\s+The user requested \(constraint\) {_PINNED_NAME}", re.MULTILINE),
    re.compile(rf"(?:No matching distribution found for|satisfies the requirement) {_PINNED_NAME}"),
    re.compile(rf"{_PINNED_NAME} was not found in"),
    re.compile(rf"there (?:is|are) no versions? of {_PINNED_NAME}"),
)
_CHANGED = re.compile(r"(?:DO NOT MATCH THE HASHES|Hash mismatch for `?([\w.-]+))")
_OFFLINE = re.compile(
    r"name resolution|getaddrinfo|NewConnectionError|ConnectionError|ConnectTimeout|ReadTimeout|timed out|"
    r"Network is unreachable|SSLError|dns error|error sending request|Failed to fetch|ProxyError|Connection reset",
    re.IGNORECASE,
)
_FULL = re.compile(r"No space left on device|not enough space on the disk|os error 28|Errno 28", re.IGNORECASE)


def explain_failure(lines: list[str], *, wheelhouse: str = "") -> Problem:
    """Return why pip or uv failed, from the lines that it printed. wheelhouse: the folder that it installed from."""
    text = "\n".join(lines)
    where = f"the folder {wheelhouse}" if wheelhouse else "the package index"
    if _FULL.search(text):
        return Problem(
            "The disk is full.", "Free some disk space, then try again: the installation continues where it stopped."
        )
    if _CHANGED.search(text):
        return Problem(
            f"A package from {where} is not the one that this release was tested with.",
            "Try again later, or install from a folder of wheels that you trust.",
        )
    if _OFFLINE.search(text) and not wheelhouse:
        return Problem(
            "The package index cannot be reached.",
            "Check the connection to the internet, then try again: the installation continues where it stopped.",
        )
    if missing := next(filter(None, (pattern.search(text) for pattern in _MISSING)), None):
        remedy = (
            "Add its wheel for this platform and Python to the folder, then try again."
            if wheelhouse
            else "Install from a folder with the wheels of the release instead."
        )
        return Problem(f"{missing[1]} was not found in {where}.", remedy)
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    return Problem(f"The installation stopped: {last[:200]}", "Try again. See the installation log for details.")
