"""The identity that a state folder shares with its job store, so that neither is used with another one.

The server deletes stems and uploads of jobs that its store does not contain. With an empty store, or the store of
another folder, it would delete all of them.
"""

from __future__ import annotations

from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.files.private_files import write_private_text

FILE_NAME = "identity"


class StateIdentity:
    """The identity of a state folder, in a file that is written when the folder gets its job store.

    Args:
        state_dir: The folder.
        data_dirs: Its subfolders with the files of jobs.
    """

    def __init__(self, state_dir: Path, *data_dirs: Path) -> None:
        self._path = state_dir / FILE_NAME
        self._data_dirs = data_dirs

    def read(self) -> str:
        """Return the identity; "" if the folder has none yet. Raises OSError."""
        try:
            return self._path.read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return ""

    def pair(self, store_name: str, store_identity: str, *, has_jobs: bool, is_in_folder: bool) -> None:
        """Check that a job store belongs to the folder. A new store is paired with a new folder.

        Args:
            store_name: Name of the job store, for the user.
            store_identity: Its identity.
            has_jobs: Whether it has any job.
            is_in_folder: Whether it is in the folder.

        Raises:
            ProblemError: RESOURCES. It belongs to another folder.
            OSError: The identity cannot be read or written.
        """
        identity = self.read()
        if identity == store_identity:
            return
        has_files = any(folder.is_dir() and any(folder.iterdir()) for folder in self._data_dirs)
        is_new_pair = not has_jobs and not has_files
        is_first_start = not identity and is_in_folder and has_jobs
        if is_new_pair or is_first_start:
            write_private_text(self._path, store_identity + "\n")
            return
        raise ProblemError(
            f"The state folder {self._path.parent} and the job store {store_name} do not belong together: the server "
            f"would {'delete the stems and uploads that the store' if has_files else 'list stems that the folder'} "
            "does not contain.",
            "Use the two that belong together, or a new folder with a new database. To use these two anyway, write "
            f"{store_identity} into {self._path}.",
            ProblemKind.RESOURCES,
        )
