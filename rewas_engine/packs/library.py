"""The user's own packs: put there, taken away, weighed. Nothing here imports torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import platformdirs

from rewas_engine.errors import PackError
from rewas_engine.packs.description import (
    DESCRIPTION_FILE,
    PackDescription,
    find_pack,
    new_pack_folder,
    read_pack,
    search_folders,
    verify_files,
)


def user_folder() -> Path:
    """Where the user's own packs lie."""
    return platformdirs.user_data_path("rewas") / "packs"


def add_pack(source: Path, name: str | None = None) -> PackDescription:
    """Copy a pack's folder to the user's own packs, whole or not at all, after its files were checked.

    name: what it is called from then on; the folder's own name by default.
    Raises PackError where the folder is no whole pack, the name cannot be one, a pack of that name is there or came
    with ReWaS, or another process is adding one.
    """
    verify_files(read_pack(find_pack(source)))
    name = source.resolve().name if name is None else name
    _check_name(name)
    target = user_folder() / name
    if target.exists():
        raise PackError(f"There is already a pack {name}.", "Remove it first, or add this one under another name.")
    with new_pack_folder(target) as unfinished:
        shutil.copytree(source, unfinished, dirs_exist_ok=True)
    return read_pack(target)


def remove_pack(name: str) -> Path:
    """Delete an installed pack and return where it lay. A damaged one can be removed too.

    Raises PackError where there is none of that name, or where it came with ReWaS.
    """
    shipped = _shipped_folder()
    for folder in search_folders():
        path = folder / name
        if Path(name).name != name or not (path / DESCRIPTION_FILE).is_file():
            continue
        if folder == shipped:
            raise PackError(f"The pack {name} came with ReWaS.", "It stays; remove packs that you added.")
        # What is being deleted is no pack any more from the first moment on.
        leaving = path.with_name(f".{name}.removed")
        shutil.rmtree(leaving, ignore_errors=True)
        path.replace(leaving)
        shutil.rmtree(leaving)
        return path
    raise PackError(f"The pack {name!r} is not installed.", "See rewas packs list for those that are.")


def unfinished_folders() -> list[Path]:
    """What was begun and not ended among the packs: one that is being written or removed, or that was broken off."""
    folders = [folder for folder in search_folders() if folder.is_dir()]
    return sorted(path for folder in folders for end in ("partial", "removed") for path in folder.glob(f".*.{end}"))


def size_bytes(path: Path) -> int:
    """What a pack's folder takes on the disk."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _shipped_folder() -> Path:
    return search_folders()[-1]


def _check_name(name: str) -> None:
    """Raises PackError for what cannot be the name of a pack of one's own."""
    is_plain = bool(name) and Path(name).name == name and name.isprintable() and "\\" not in name
    if not is_plain or name != name.strip() or name.startswith("."):
        raise PackError(
            f"{name!r} cannot be the name of a pack.",
            "Give a name without slashes, a leading dot, or blanks at its ends.",
        )
    if (_shipped_folder() / name).exists():
        # A pack of one's own is found first: everything that names the shipped one would get another, on other terms.
        raise PackError(f"There is already a pack {name}, which came with ReWaS.", "Add this one under another name.")
