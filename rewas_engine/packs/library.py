"""Managing the user's packs: add, remove, measure. This module does not import torch."""

from __future__ import annotations

import lzma
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import platformdirs

from rewas_engine.errors import PackError
from rewas_engine.packs.description import (
    DESCRIPTION_FILE,
    PackDescription,
    find_pack,
    installed_packs,
    new_pack_folder,
    pack_not_installed_error,
    read_pack,
    search_folders,
    verify_files,
)


def user_folder() -> Path:
    """Return the folder of the user's packs."""
    return platformdirs.user_data_path("rewas") / "packs"


def pack_folder(name: str) -> Path:
    """Return the folder of the user's pack with this name. Raises PackError if the name is not valid."""
    _check_name(name)
    return user_folder() / name


def add_pack(source: Path, name: str | None = None, check: Callable[[Path], object] | None = None) -> PackDescription:
    """Verify a pack and copy it into the user's folder, completely or not at all.

    Args:
        source: The pack's folder, or a ZIP archive of it.
        name: Name of the copy; by default that of the folder.
        check: Called with the folder of the complete copy before it gets its name.

    Raises:
        PackError: The pack or archive is damaged, the disk is too small for it, the name is invalid or taken, or
            another process is adding a pack of this name.
    """
    with _unpacked(source) if source.is_file() else nullcontext(source) as folder:
        verify_files(read_pack(find_pack(folder)))
        name = folder.resolve().name if name is None else name
        target = pack_folder(name)
        if target.exists():
            raise PackError(f"A pack {name} already exists.", "Remove it first, or add this one under another name.")
        with new_pack_folder(target) as unfinished:
            if folder is source:
                shutil.copytree(source, unfinished, dirs_exist_ok=True)
            else:
                for part in folder.iterdir():
                    part.replace(unfinished / part.name)
            if check is not None:
                check(unfinished)
    return read_pack(target)


@contextmanager
def _unpacked(archive: Path) -> Iterator[Path]:
    """Unpack an archive next to the user's packs. Yields the folder of the pack, and removes it afterwards."""
    base = user_folder() / f".{archive.stem}.unpacked.partial"
    base.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(base, ignore_errors=True)
    top = base / archive.stem
    try:
        _unpack(archive, top)
        folders = [folder for folder in (top, *sorted(top.iterdir())) if (folder / DESCRIPTION_FILE).is_file()]
        if not folders:
            raise PackError(
                f"{archive.name} contains no pack.", f"Give an archive of a folder that contains {DESCRIPTION_FILE}."
            )
        yield folders[0]
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as content:
            needed_bytes = sum(member.file_size for member in content.infolist())
            free_bytes = shutil.disk_usage(folder.parent.parent).free
            if needed_bytes > free_bytes:
                raise PackError(
                    f"The files in {archive.name} need {needed_bytes / 1e6:.1f} MB, but only {free_bytes / 1e6:.1f} MB "
                    f"are free in {folder.parent.parent}.",
                    "Free some space, and add the pack again.",
                )
            # This removes ".." and drives from the names of files.
            content.extractall(folder)
    # RuntimeError is raised for encrypted archives, NotImplementedError for rare compressions, OSError by bz2.
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise PackError(
            f"{archive.name} is not a ZIP archive, or it is damaged or encrypted ({error}).",
            "Give the folder of a pack, or a ZIP archive of it.",
        ) from error


def remove_pack(name: str) -> Path:
    """Delete an installed pack, damaged or not, and return its former folder.

    Raises PackError if it is not installed or is part of ReWaS.
    """
    shipped = _shipped_folder()
    for folder in search_folders():
        path = folder / name
        if Path(name).name != name or not (path / DESCRIPTION_FILE).is_file():
            continue
        if folder == shipped:
            raise PackError(
                f"The pack {name} is part of ReWaS and cannot be removed.", "Remove only packs that you added."
            )
        # Rename first, so that a half-deleted folder is never found as a pack.
        leaving = path.with_name(f".{name}.removed")
        shutil.rmtree(leaving, ignore_errors=True)
        path.replace(leaving)
        shutil.rmtree(leaving)
        return path
    raise pack_not_installed_error(name, [pack.name for pack in installed_packs()])


def unfinished_folders() -> list[Path]:
    """List folders of packs that are being written or removed, or whose writing or removal was interrupted."""
    folders = [folder for folder in search_folders() if folder.is_dir()]
    return sorted(path for folder in folders for end in ("partial", "removed") for path in folder.glob(f".*.{end}"))


def size_bytes(path: Path) -> int:
    """Return the size of a pack's folder on disk."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _shipped_folder() -> Path:
    return search_folders()[-1]


def _check_name(name: str) -> None:
    """Raise PackError for a name that a user's pack cannot have."""
    is_plain = bool(name) and Path(name).name == name and name.isprintable() and "\\" not in name
    if not is_plain or name != name.strip() or name.startswith("."):
        raise PackError(
            f"{name!r} is not a valid pack name.",
            "Use a name without slashes, without a leading dot, and without spaces at its ends.",
        )
    if (_shipped_folder() / name).exists():
        # The user's folder is searched first: projects that name the shipped pack would get this one instead.
        raise PackError(f"A pack {name} is part of ReWaS.", "Add this one under another name.")
