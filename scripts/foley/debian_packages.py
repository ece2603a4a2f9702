"""Download packages of Debian and Ubuntu and extract them, without installing them and without root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.errors import EngineError

REQUIRED_TOOLS = ("apt-get", "dpkg-deb")


class PackageError(EngineError):
    """A package cannot be downloaded or extracted."""


@dataclass(frozen=True)
class OfferedPackage:
    """A package that the system's package sources offer.

    Attributes:
        name: Its name.
        file_name: Name of its .deb file.
        size_bytes: Size of that file.
    """

    name: str
    file_name: str
    size_bytes: int


def missing_tools() -> list[str]:
    """Return the names of the tools that this system lacks."""
    return [tool for tool in REQUIRED_TOOLS if shutil.which(tool) is None]


def find_offered(name: str) -> OfferedPackage | None:
    """Look up a package in the system's package lists; None if they do not have it."""
    done = _run(["apt-get", "download", "--print-uris", name])
    for line in done.stdout.splitlines():
        fields = line.rsplit(" ", 3)
        if len(fields) == 4 and fields[1].endswith(".deb"):
            return OfferedPackage(name, fields[1], int(fields[2]))
    return None


def download(package: OfferedPackage, folder: Path) -> Path:
    """Download a package into a folder, unless it is there already. `apt-get` shows the progress and checks the file.

    Raises:
        PackageError: It cannot be downloaded.
    """
    file = folder / package.file_name
    if file.is_file() and file.stat().st_size == package.size_bytes:
        return file
    folder.mkdir(parents=True, exist_ok=True)
    # As root, apt-get would use another user, who may not write to the folder.
    options = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    done = subprocess.run(["apt-get", *options, "download", package.name], cwd=folder, check=False)
    if done.returncode or not file.is_file():
        raise PackageError(
            f"apt-get could not download the package {package.name}.",
            "Check the network connection and the free space, and run the command again.",
        )
    return file


def extract(file: Path, folder: Path) -> None:
    """Extract the files of a .deb file into a new folder.

    Raises:
        PackageError: The file is damaged, or the files cannot be written.
    """
    if shutil.which("dpkg-deb") is None:
        raise PackageError(
            f"{file.name} cannot be extracted, because dpkg-deb is not installed.",
            f"Extract it with another program into a folder {package_name(file)} next to it.",
        )
    folder.mkdir(parents=True)
    done = _run(["dpkg-deb", "--extract", str(file), str(folder)])
    if done.returncode:
        reason = next(iter(done.stderr.strip().splitlines()), "no reason given")
        raise PackageError(f"{file} cannot be extracted ({reason}).", "Delete the file and run the command again.")


def package_name(path: Path) -> str:
    """Return the name of the package in a .deb file or folder: the part of its name before the version."""
    return path.name.partition("_")[0]


def find_given(folder: Path, names: Iterable[str]) -> Mapping[str, Path]:
    """Find packages in a folder: .deb files and extracted folders, or one folder into which all were extracted.

    Returns:
        Name of each package that was found -> .deb file or folder. A folder is preferred, then the last file by name.

    Raises:
        PackageError: The folder does not exist or has none of the packages.
    """
    wanted = sorted(set(names))
    if not folder.is_dir():
        raise PackageError(f"The folder {folder} does not exist.", "Give the folder of the packages.")
    if (folder / "usr").is_dir():
        return dict.fromkeys(wanted, folder)
    entries = sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name))
    usable = [path for path in entries if path.is_dir() or path.suffix == ".deb"]
    found = {name: path for path in usable if (name := package_name(path)) in wanted}
    if not found:
        raise PackageError(
            f"{folder} contains none of the packages.",
            f"Put .deb files of these packages there, or folders into which they were extracted: {', '.join(wanted)}.",
        )
    return found


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, check=False, text=True, errors="replace", env={**os.environ, "LC_ALL": "C"}
    )
