"""One server for one state folder: two would start each other's jobs."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.runtime.process_locks import lock


class StateLock:
    """Holds the state folder while it is entered; the system lets go of it when the process ends, however it ends.

    Raises ProblemError (RESOURCES) where the folder cannot be written or another server holds it.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = (self._state_dir / "server.lock").open("ab")
        except OSError as error:
            raise ProblemError(
                f"The state folder {self._state_dir} cannot be written ({error.strerror or error}).",
                "Choose another with `rewas serve --state-dir`, or change its permissions.",
                ProblemKind.RESOURCES,
            ) from error
        try:
            lock(self._file)
        except OSError as error:
            self._file.close()
            raise ProblemError(
                f"Another ReWaS server uses the state folder {self._state_dir}.",
                "Stop it, or choose another folder with `rewas serve --state-dir`.",
                ProblemKind.RESOURCES,
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
