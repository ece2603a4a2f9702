"""What a server is told when it starts."""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from rewas_api import DEFAULT_PORT
from rewas_engine import Execution


def default_state_dir() -> Path:
    """Where jobs, uploads and artifacts are kept unless told otherwise."""
    return platformdirs.user_state_path("rewas")


def default_allowed_roots() -> tuple[Path, ...]:
    """Where people keep media: their home, the folder that the server is started in, and mounted drives.

    The folder of the start is left out where it is the root of the file system, which would permit everything.
    """
    roots = [Path.home(), Path.cwd()]
    if sys.platform == "darwin":
        roots.append(Path("/Volumes"))
    elif sys.platform != "win32":
        roots += [Path("/media"), Path("/mnt"), Path("/run/media") / _user_name()]
    present = dict.fromkeys(root.resolve() for root in roots if root.is_dir())
    return tuple(root for root in present if root != Path(root.anchor))


@dataclass(frozen=True)
class ServerConfig:
    """What a server is told when it starts.

    port: on 127.0.0.1; 0 picks a free one. state_dir: where jobs, uploads and artifacts are kept. allowed_roots:
    folders under which media may be given by path. default_pack: used where a request names none. upload_limit_bytes:
    largest media file that may be uploaded. queue_limit: most jobs that may wait or run. device: "auto", "cpu", ….
    execution: in which precision and with how much memory packs are run. cancel_grace_s: after so many seconds a worker
    that does not stop a cancelled job is ended. conflict_model: a folder with a CLIP model that holds words against
    pictures; None leaves that to the packs.
    """

    port: int = DEFAULT_PORT
    state_dir: Path = field(default_factory=default_state_dir)
    allowed_roots: tuple[Path, ...] = field(default_factory=default_allowed_roots)
    default_pack: str = "starter"
    upload_limit_bytes: int = 64 * 1024**3
    queue_limit: int = 1000
    device: str = "auto"
    execution: Execution = field(default_factory=Execution)
    cancel_grace_s: float = 60.0
    conflict_model: Path | None = None

    @property
    def database_path(self) -> Path:
        """The job store."""
        return self.state_dir / "jobs.sqlite3"

    @property
    def artifacts_dir(self) -> Path:
        """Holds one folder for each job, named by its id."""
        return self.state_dir / "artifacts"

    @property
    def uploads_dir(self) -> Path:
        """Holds uploaded media, named by their SHA-256."""
        return self.state_dir / "uploads"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "nobody"
