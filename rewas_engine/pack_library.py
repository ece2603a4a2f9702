"""The user's own packs: put there, taken away, weighed. Nothing here imports torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import platformdirs

from rewas_engine.errors import PackError
from rewas_engine.packs import DESCRIPTION_FILE, PackDescription, find_pack, read_pack, search_folders, verify_files


def user_folder() -> Path:
    """Where the user's own packs lie."""
    return platformdirs.user_data_path("rewas") / "packs"


def add_pack(source: Path, name: str | None = None) -> PackDescription:
    """Copy a pack's folder to the user's own packs, whole or not at all, after its files were checked.

    name: what it is called from then on; the folder's own name by default.
    Raises PackError where the folder is no whole pack, the name cannot be one, or a pack of that name is there.
    """
    verify_files(read_pack(find_pack(source)))
    name = name or source.resolve().name
    if name.startswith(".") or Path(name).name != name:
        raise PackError(f"{name!r} cannot be the name of a pack.", "Give a name without slashes or a leading dot.")
    target = user_folder() / name
    if target.exists():
        raise PackError(f"There is already a pack {name}.", "Remove it first, or add this one under another name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        shutil.copytree(source, unfinished)
        unfinished.replace(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return read_pack(target)


def remove_pack(name: str) -> Path:
    """Delete an installed pack and return where it lay. A damaged one can be removed too.

    Raises PackError where there is none of that name, or where it came with ReWaS.
    """
    shipped = search_folders()[-1]
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
