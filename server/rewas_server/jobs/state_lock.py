"""A lock on the state folder: two servers on the same folder would run each other's jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.runtime.process_locks import AlreadyLocked, file_lock
from rewas_server.files.private_files import tighten_state_folder


@contextmanager
def lock_state_folder(state_dir: Path) -> Iterator[None]:
    """Lock the state folder, which is created if necessary. The system releases the lock however the process ends.

    Raises:
        ProblemError: RESOURCES. The folder is not writable, or another server is using it.
    """
    with ExitStack() as stack:
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            stack.enter_context(file_lock(state_dir / "server.lock"))
            tighten_state_folder(state_dir)
        except OSError as error:
            raise ProblemError(
                f"Cannot write to the state folder {state_dir} ({error.strerror or error}).",
                "Choose another folder with `rewas serve --state-dir`, or change its permissions.",
                ProblemKind.RESOURCES,
            ) from error
        except AlreadyLocked as error:
            raise ProblemError(
                f"Another ReWaS server is using the state folder {state_dir}.",
                "Stop that server, or choose another folder with `rewas serve --state-dir`.",
                ProblemKind.RESOURCES,
            ) from error
        yield
