"""The configuration of a server."""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from rewas_api import DEFAULT_PORT
from rewas_engine import Execution


def default_state_dir() -> Path:
    """Return the default folder for jobs, uploads and artifacts."""
    return platformdirs.user_state_path("rewas")


def default_allowed_roots() -> tuple[Path, ...]:
    """Return the folders that usually hold media: the home folder, the working folder and mounted drives.

    The working folder is left out if it is the root of the file system, because that would permit everything.
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
    """The configuration of a server.

    Attributes:
        port: On 127.0.0.1; 0 picks a free port.
        state_dir: Folder for jobs, uploads and artifacts.
        allowed_roots: Folders from which media may be read by path.
        default_pack: Pack for requests that name none.
        upload_limit_bytes: Largest media file that may be uploaded.
        queue_limit: Maximum number of waiting and running jobs.
        device: "auto", "cpu", "cuda:0", …
        execution: Precision and memory options of packs.
        cancel_grace_s: Seconds after which a worker that does not stop a cancelled job is killed.
        conflict_model: Folder of a CLIP model for the conflict check; None uses the packs.
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
        """File of the job store."""
        return self.state_dir / "jobs.sqlite3"

    @property
    def artifacts_dir(self) -> Path:
        """Folder with one subfolder per job, named by its id."""
        return self.state_dir / "artifacts"

    @property
    def uploads_dir(self) -> Path:
        """Folder of uploaded media, named by SHA-256."""
        return self.state_dir / "uploads"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "nobody"
