"""Results of a table on disk, found again by everything that decides them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray
from rewas_engine.media.audio import limit_peak
from rewas_engine.runtime.atomic_files import atomic_path

Arrays = Mapping[str, NDArray[Any]]
"""Arrays of one result by name."""


class ResultCache:
    """A folder of sounds and arrays, each named after a hash of what decides it.

    An interrupted run finds what it had finished, and tables that share a folder share their work. Files are written
    atomically, so that several processes may use one folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sound(self, key: Any, make: Callable[[], tuple[FloatArray, int]]) -> Path:
        """Return the FLAC file of a key, or make the waveform [samples] with its rate in Hz and write it.

        Raises:
            OSError: The file cannot be written.
        """
        path = self._path(key, ".flac")
        if not _is_sound(path):
            waveform, rate_hz = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with atomic_path(path) as unfinished:
                    soundfile.write(unfinished, limit_peak(waveform), rate_hz, subtype="PCM_16", format="FLAC")
            except soundfile.LibsndfileError as error:
                raise OSError(f"{path} cannot be written ({error.error_string})") from error
        return path

    def arrays(
        self, keys: Sequence[Any], make: Callable[[Sequence[int]], Sequence[Arrays | None]], at_once: int = 1
    ) -> list[Arrays | None]:
        """Return the arrays of each key, or make and write them.

        Args:
            keys: One for each result.
            make: Function from the positions of keys to their results, one after another. None is a result that cannot
                be made now; it is not written.
            at_once: Largest number of positions for one call.

        Raises:
            OSError: A file cannot be written.
        """
        found = [self._read(self._path(key, ".npz")) for key in keys]
        missing = [place for place, result in enumerate(found) if result is None]
        for first in range(0, len(missing), at_once):
            places = missing[first : first + at_once]
            for place, made in zip(places, make(places), strict=True):
                if made is None:
                    continue
                path = self._path(keys[place], ".npz")
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(path) as unfinished:
                    np.savez(unfinished, allow_pickle=False, **made)
                found[place] = made
        return found

    def _read(self, path: Path) -> Arrays | None:
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        except (ValueError, EOFError, OSError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)  # damaged by a full disk or a power failure
            return None

    def _path(self, key: Any, suffix: str) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:34]}{suffix}"


def _is_sound(path: Path) -> bool:
    """Whether a sound was written completely; a power failure can leave an empty file."""
    try:
        return path.is_file() and soundfile.info(path).frames > 0
    except soundfile.LibsndfileError:
        return False
