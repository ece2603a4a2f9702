"""Read the tensors of a checkpoint by name, without running any code in it."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from rewas_engine.errors import CheckpointError

_STATE_DICT_KEYS = ("state_dict", "model", "generator", "model_state_dict")
"""Keys that training code commonly uses for the weights in a checkpoint."""
_INERT_MODULES = ("omegaconf.", "pytorch_lightning.", "lightning.", "argparse.", "pathlib.", "typing.", "collections.")
"""Modules whose objects training code stores next to the weights. They are neither imported nor called."""
_MAX_HEADER_BYTES = 100_000_000
"""Largest header that safetensors allows."""
DOWNLOAD_AGAIN = "Download the complete file again."


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, memory-mapped if its format allows it.

    Args:
        path: The file.
        label: What the user said the file is, for errors, such as "the φ checkpoint (--phi)".
        tensors: Tensors by name.
    """

    path: Path
    label: str
    tensors: Mapping[str, torch.Tensor]

    def error(self, found: str, expected: str, remedy: str | None = None) -> CheckpointError:
        """Return an error about this file; see CheckpointError for `found` and `expected`."""
        remedy = remedy or f"Use the unmodified official release of {self.label}."
        return CheckpointError(self.path, found, expected, remedy, self.label)


def read_checkpoint(path: Path, label: str) -> Checkpoint:
    """Read the tensors of a torch or safetensors checkpoint, recognised by its content instead of its name.

    Raises CheckpointError if the file is missing, truncated or of another format, contains code, or has no tensors.
    """
    empty = Checkpoint(path, label, {})
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise empty.error(found, "a file", "Check the path, or download the file.")
    with path.open("rb") as file:
        header = file.read(64)
    if _is_safetensors(header):
        try:
            return _check_tensors(Checkpoint(path, label, load_file(path)))
        except (SafetensorError, OSError, ValueError) as error:
            raise empty.error(
                f"is damaged or cut off ({error})", "a complete safetensors file", DOWNLOAD_AGAIN
            ) from error
    zipped = header.startswith(b"PK")
    if zipped:
        _check_archive(path, empty)
    elif not header.startswith(b"\x80"):
        raise empty.error(_describe_content(header), "a checkpoint", DOWNLOAD_AGAIN)
    tensors = _find_state_dict(_unpickle(path, empty, zipped))
    if not tensors:
        raise empty.error("holds no tensors", "a checkpoint with weights")
    return _check_tensors(Checkpoint(path, label, tensors))


def _check_tensors(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint. Raises CheckpointError for a tensor that is not a plain dense array."""
    for name, tensor in checkpoint.tensors.items():
        kind = _storage_problem(tensor)
        if kind is not None:
            raise checkpoint.error(f"holds {name} {kind}", "plain dense tensors")
    return checkpoint


def _storage_problem(tensor: torch.Tensor) -> str | None:
    """Describe why a tensor is not a plain dense array; None if it is."""
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return f"as {tensor.layout}"
    if tensor.is_meta:
        return "without values"
    if tensor.is_quantized:
        return "quantized"
    try:
        torch.empty(1, dtype=tensor.dtype).to(torch.complex128)
    except (NotImplementedError, RuntimeError):  # several values share a byte
        return f"as {tensor.dtype}"
    return None


def _is_safetensors(header: bytes) -> bool:
    """Return whether a file begins as safetensors does: with the length of a header, then its JSON."""
    return header[8:9] == b"{" and int.from_bytes(header[:8], "little") <= _MAX_HEADER_BYTES


def _check_archive(path: Path, empty: Checkpoint) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        raise empty.error(
            f"ends after {size} without its table of contents", "a complete file", DOWNLOAD_AGAIN
        ) from error
    if not any(name.endswith("data.pkl") for name in names):
        shown = ", ".join(names[:3]) or "nothing"
        raise empty.error(f"is a zip archive with other contents ({shown})", "a checkpoint")


def _describe_content(header: bytes) -> str:
    start = header.lstrip().lower()
    if not header:
        return "is empty"
    if start.startswith(b"<"):
        return "is a web page"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself"
    return f"is not a checkpoint (it begins with {header[:8]!r})"


def _unpickle(path: Path, empty: Checkpoint, zipped: bool) -> Any:
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
        code = [name for name in foreign if not name.startswith(_INERT_MODULES)]
        if code:
            raise _code_found_error(empty, code[0])
        with torch.serialization.safe_globals([(_InertObject, name) for name in foreign]):
            if path.suffix != ".safetensors":
                return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
            # torch treats any file of that name as safetensors. It does not see the name of an open file.
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        name = named[1] if named else None if zipped else _first_global(path)
        if name is not None:
            raise _code_found_error(empty, name) from error
        raise empty.error("is damaged or has an unknown format", "a checkpoint", DOWNLOAD_AGAIN) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise empty.error(f"is damaged or cut off ({reason})", "a complete checkpoint", DOWNLOAD_AGAIN) from error


def _first_global(path: Path) -> str | None:
    """Return the first foreign object that a bare pickle would import, without running it; None if there is none."""
    strings: list[str] = []
    name = ""
    try:
        with path.open("rb") as file:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name == "GLOBAL":
                    name = str(argument).replace(" ", ".")
                elif operation.name == "STACK_GLOBAL":
                    name = ".".join(strings[-2:])
                elif isinstance(argument, str):
                    strings.append(argument)
                if name and not name.startswith(("torch.", *_INERT_MODULES)):
                    return name
    except (ValueError, EOFError, UnicodeDecodeError):
        return None
    return None


def _code_found_error(empty: Checkpoint, name: str) -> CheckpointError:
    return empty.error(
        f"contains code that would run when it is loaded ({name}), so it was not loaded",
        "weights only",
        "Do not use this file; download it again from the official source.",
    )


class _InertObject:
    """Placeholder for an object of the training code; it accepts anything and does nothing."""

    def __new__(cls, *arguments: Any, **keyword_arguments: Any) -> _InertObject:
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **keyword_arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _find_state_dict(content: Any) -> dict[str, torch.Tensor]:
    """Return the tensors by name from whichever nested dictionary has the most."""
    if not isinstance(content, Mapping):
        return {}
    candidates = [content, *(content[key] for key in _STATE_DICT_KEYS if isinstance(content.get(key), Mapping))]
    named = [
        {str(name): value for name, value in candidate.items() if isinstance(value, torch.Tensor)}
        for candidate in candidates
    ]
    return max(named, key=len)
