"""The configuration of a server."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from rewas_api import DEFAULT_PORT
from rewas_api.access import default_state_folder
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.project_folders import is_too_wide
from rewas_engine import Execution
from rewas_engine.media.limits import DecodingLimits
from rewas_server.database_url import is_database_url
from rewas_server.logs import LOG_FILE_NAME

LOG_LEVELS = ("debug", "info", "warning", "error")
BACKENDS = ("local", "ray")
MAX_REPLICAS = 1000
MAX_JOBS_PER_REPLICA = 64
MAX_PORT = 65_535
MIN_LOG_FILE_BYTES = 64 * 1024
MIN_DECODING_BYTES = 512 * 1024**2
"""Memory that a process needs to start and to decode at all."""


def default_state_dir() -> Path:
    """Return the default folder for jobs, uploads and artifacts."""
    return default_state_folder()


def default_allowed_roots() -> tuple[Path, ...]:
    """Return the user's video folder, if there is one. Clients announce the folders of their projects themselves."""
    videos = platformdirs.user_videos_path().resolve()
    # Some desktops name the home folder if there is no video folder.
    return (videos,) if videos.is_dir() and not is_too_wide(videos) else ()


@dataclass(frozen=True)
class ClientLimits:
    """What one client may use. All programs on one host count as one client: they share the server's token.

    Attributes:
        max_connections: Connections of all clients together.
        max_calls_per_connection: Running calls of one connection; more of them wait in the client.
        max_calls: Running short calls of one client.
        max_streams: Running watches and downloads of one client.
        max_uploads: Running uploads of one client.
        read_timeout_s: Seconds within which the next message of a request must arrive.
        write_timeout_s: Seconds within which a client must take the next message of a watch or download.
        handshake_timeout_s: Seconds within which a new connection must speak HTTP/2.
        idle_timeout_s: Seconds after which a connection without calls is closed.
        keepalive_s: Seconds of silence after which the server checks that a client still answers, and for its answer.
        connection_age_s: Seconds after which a connection takes no new calls, and again until its calls are ended.
            Clients connect again and resume.
    """

    max_connections: int = 512
    max_calls_per_connection: int = 2048
    max_calls: int = 128
    max_streams: int = 4096
    max_uploads: int = 8
    read_timeout_s: float = 60.0
    write_timeout_s: float = 30.0
    handshake_timeout_s: float = 10.0
    idle_timeout_s: float = 300.0
    keepalive_s: float = 30.0
    connection_age_s: float = 3600.0


@dataclass(frozen=True)
class DecodingSettings:
    """Limits for decoding a media file. A file that exceeds one is refused.

    Attributes:
        memory_bytes: Memory of a process that decodes, on Linux.
        pixels: Pixels of a frame.
        duration_s: Seconds of media that a clip may show.
        stall_s: Seconds that one frame may take.
        call_s: Seconds that decoding a clip may take, whatever its length.
        call_s_per_media_s: Additional seconds for each second of the clip.
    """

    memory_bytes: int = DecodingLimits.memory_bytes
    pixels: int = DecodingLimits.pixels
    duration_s: int = DecodingLimits.duration_s
    stall_s: float = DecodingLimits.stall_s
    call_s: float = DecodingLimits.call_s
    call_s_per_media_s: float = DecodingLimits.call_s_per_media_s

    def __post_init__(self) -> None:
        """Check the values. Raises ProblemError (SETTINGS), which names the setting."""
        for name, value in asdict(self).items():
            least = MIN_DECODING_BYTES if name == "memory_bytes" else 0
            if not value > least:
                raise ProblemError(f"`decoding.{name}` is {value}.", f"Use more than {least}.", ProblemKind.SETTINGS)

    def limits(self) -> DecodingLimits:
        """Return the limits for the engine."""
        return DecodingLimits(**asdict(self))


@dataclass(frozen=True)
class ServerConfig:
    """The configuration of a server.

    Attributes:
        host: Name or address to listen on. Other machines can reach it only with TLS.
        port: 0 picks a free port.
        certificate: File of the certificate for TLS, in PEM form, with those of its authorities.
        private_key: File of the certificate's key.
        state_dir: Folder for jobs, uploads and artifacts.
        database: PostgreSQL database of the jobs, as in postgresql://USER@HOST/DATABASE. Empty for a file in state_dir.
        allowed_roots: Folders from which media may be read by path.
        default_pack: Pack for requests that name none.
        upload_limit_bytes: Largest media file that may be uploaded.
        uploads_limit_bytes: Size of all uploads. The oldest unused ones are deleted to stay below it.
        client_uploads_limit_bytes: Size of the uploads of one client; None is as much as all clients may have.
        stems_limit_bytes: Size of the stems of all jobs. Those of the oldest jobs are deleted to stay below it.
        requests_limit_bytes: Size of finished jobs in the job store. The oldest are deleted to stay below it.
        max_age_days: Age above which finished jobs and unused uploads are deleted.
        queue_limit: Maximum number of unfinished jobs, where a timeline counts as one.
        client_queue_limit: The same for one client.
        client_clips_limit: Maximum number of unfinished clips in the timelines of one client.
        backend: Where jobs run: "local" on this machine, "ray" on a Ray cluster.
        ray_url: Address of the Ray Serve application, as in http://rewas-serve-svc:8000. Empty starts Ray on this
            machine.
        ray_token_file: File with the secret that the application expects.
        ray_replicas: Number of replicas to which jobs are sent at the same time. If the server starts Ray, also the
            number of replicas that it starts.
        ray_jobs_per_replica: Number of jobs that each replica runs at the same time.
        content_store: Where the server and the cluster share media and stems: a folder, or a URL as in
            s3://bucket/folder. Empty for a folder in state_dir.
        content_limit_bytes: Size of the content store. The oldest files are deleted to stay below it.
        device: Devices of the workers: "cpu", "cuda:0", or several as in "cuda:0,cuda:1", with one worker each. "auto"
            uses all CUDA devices, or the CPU if there is none.
        execution: Precision and memory options of packs.
        cancel_grace_s: Seconds after which a worker that does not stop a cancelled or paused job is killed. The job
            itself counts as stopped after two seconds at most.
        worker_silence_s: Seconds after which a worker that sends no sign of life is killed.
        min_deadline_s: Shortest time limit of a job, in seconds. Long clips get more.
        conflict_model: Folder of a CLIP model for the conflict check; None uses the packs.
        avh_model: Folder with ImageBind, which measures AVHScores; None uses the packs.
        picture_model: Folder of an image-to-text model that describes clips; None uses the labels of the packs.
        sound_model: Folder of an audio-to-text model that describes clips; None uses the labels of the packs.
        language_model: Folder of a language model that writes sentences about clips; None uses fixed phrases.
        video_model: Folder of a model that generates videos with sound from a sentence; None if there is none.
        log_level: Lowest level that is logged: "debug", "info", "warning" or "error".
        log_prompts: Whether prompts and the texts of unexpected exceptions may be logged.
        log_file_bytes: Size at which the log file is rotated.
        log_files: Number of log files that are kept, at least 2.
        metrics_port: Port on 127.0.0.1 for Prometheus metrics; 0 picks a free one, None serves none.
        web_port: Port on 127.0.0.1 for the web page; 0 picks a free one, None serves none.
        limits: What one client may use.
        decoding: Limits for decoding a media file.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    certificate: Path | None = None
    private_key: Path | None = None
    state_dir: Path = field(default_factory=default_state_dir)
    database: str = field(default="", repr=False)
    allowed_roots: tuple[Path, ...] = field(default_factory=default_allowed_roots)
    default_pack: str = "starter"
    upload_limit_bytes: int = 32 * 10**9
    uploads_limit_bytes: int = 50 * 10**9
    client_uploads_limit_bytes: int | None = None
    stems_limit_bytes: int = 50 * 10**9
    requests_limit_bytes: int = 2 * 10**9
    max_age_days: float = 30.0
    queue_limit: int = 1000
    client_queue_limit: int = 500
    client_clips_limit: int = 50_000
    backend: str = "local"
    ray_url: str = ""
    ray_token_file: Path | None = None
    ray_replicas: int = 1
    ray_jobs_per_replica: int = 1
    content_store: str = ""
    content_limit_bytes: int = 100 * 10**9
    device: str = "auto"
    execution: Execution = field(default_factory=Execution)
    cancel_grace_s: float = 10.0
    worker_silence_s: float = 60.0
    min_deadline_s: float = 1800.0
    conflict_model: Path | None = None
    avh_model: Path | None = None
    picture_model: Path | None = None
    sound_model: Path | None = None
    language_model: Path | None = None
    video_model: Path | None = None
    log_level: str = "info"
    log_prompts: bool = False
    log_file_bytes: int = 10 * 1024**2
    log_files: int = 5
    metrics_port: int | None = None
    web_port: int | None = None
    limits: ClientLimits = field(default_factory=ClientLimits)
    decoding: DecodingSettings = field(default_factory=DecodingSettings)

    def __post_init__(self) -> None:
        """Check the values. Raises ProblemError (SETTINGS), which names the setting."""
        checks = {
            "port": (0 <= self.port <= MAX_PORT, f"Use 0 to {MAX_PORT}."),
            "metrics_port": (0 <= (self.metrics_port or 0) <= MAX_PORT, f"Use 0 to {MAX_PORT}."),
            "web_port": (0 <= (self.web_port or 0) <= MAX_PORT, f"Use 0 to {MAX_PORT}."),
            "log_level": (self.log_level in LOG_LEVELS, f"Use one of {', '.join(LOG_LEVELS)}."),
            "log_files": (self.log_files >= 2, "Use 2 or more."),
            "log_file_bytes": (self.log_file_bytes >= MIN_LOG_FILE_BYTES, f"Use {MIN_LOG_FILE_BYTES} or more."),
            "queue_limit": (self.queue_limit >= 1, "Use 1 or more."),
            "client_clips_limit": (self.client_clips_limit >= 1, "Use 1 or more."),
            "client_queue_limit": (self.client_queue_limit >= 1, "Use 1 or more."),
            "backend": (self.backend in BACKENDS, f"Use one of {', '.join(BACKENDS)}."),
            "ray_replicas": (1 <= self.ray_replicas <= MAX_REPLICAS, f"Use 1 to {MAX_REPLICAS}."),
            "ray_jobs_per_replica": (
                1 <= self.ray_jobs_per_replica <= MAX_JOBS_PER_REPLICA,
                f"Use 1 to {MAX_JOBS_PER_REPLICA}.",
            ),
            "max_age_days": (self.max_age_days > 0, "Use more than 0."),
            **{
                name: ((getattr(self, name) or 0) >= 0, "Use 0 or more.")
                for name in (
                    "upload_limit_bytes",
                    "uploads_limit_bytes",
                    "client_uploads_limit_bytes",
                    "stems_limit_bytes",
                    "requests_limit_bytes",
                    "content_limit_bytes",
                )
            },
        }
        if self.database and not is_database_url(self.database):
            # It may contain a password, and is not repeated.
            raise ProblemError(
                "`database` is not the URL of a PostgreSQL database.",
                "Use the form postgresql://USER@HOST/DATABASE.",
                ProblemKind.SETTINGS,
            )
        if not _is_web_address(self.ray_url):
            # It may contain a password, and is not repeated.
            raise ProblemError(
                "`ray_url` is not the address of an HTTP server.",
                "Use the form http://HOST:PORT, without a password.",
                ProblemKind.SETTINGS,
            )
        if urlsplit(self.content_store).password:
            raise ProblemError(
                "`content_store` contains a password.",
                "Put it where the store's own tools look for it, for example in AWS_SECRET_ACCESS_KEY.",
                ProblemKind.SETTINGS,
            )
        if self.execution.shares_batches and not self.runs_jobs_together:
            raise ProblemError(
                "`execution.shares_batches` is set, but each process runs one job at a time.",
                'Leave it out, or set `backend` to "ray" and `ray_jobs_per_replica` to 2 or more.',
                ProblemKind.SETTINGS,
            )
        if self.execution.low_memory and self.runs_jobs_together:
            raise ProblemError(
                f"`ray_jobs_per_replica` is {self.ray_jobs_per_replica}, which contradicts `execution.low_memory`.",
                "Leave out one of the two.",
                ProblemKind.SETTINGS,
            )
        if self.ray_url and self.ray_token_file is None:
            raise ProblemError(
                "`ray_url` is set, but `ray_token_file` is not.",
                "Set it to a file with the secret that the application on the cluster expects.",
                ProblemKind.SETTINGS,
            )
        for name, (is_valid, remedy) in checks.items():
            if not is_valid:
                raise ProblemError(f"`{name}` is {getattr(self, name)}.", remedy, ProblemKind.SETTINGS)

    @property
    def runs_jobs_together(self) -> bool:
        """Whether a process runs several jobs at the same time, so that its end interrupts all of them."""
        return self.backend == "ray" and self.ray_jobs_per_replica > 1

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices of the workers, one for each."""
        if self.backend == "ray":
            return (self.device,) * (self.ray_replicas * self.ray_jobs_per_replica)
        return tuple(name.strip() for name in self.device.split(","))

    @property
    def local_host(self) -> str:
        """Address at which clients on this machine reach the server."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def database_path(self) -> Path:
        """File of the job store, if it is not in a PostgreSQL database."""
        return self.state_dir / "jobs.sqlite3"

    @property
    def token_path(self) -> Path:
        """File of the token that every call carries."""
        return self.state_dir / "token"

    @property
    def ray_token_path(self) -> Path:
        """File of the token for the replicas that this server starts."""
        return self.state_dir / "ray-token"

    @property
    def backups_dir(self) -> Path:
        """Folder of the nightly copies of the job store."""
        return self.state_dir / "backups"

    @property
    def default_certificate_path(self) -> Path:
        """File of the certificate that `rewas serve --make-cert` writes."""
        return self.state_dir / "certificate.pem"

    @property
    def default_private_key_path(self) -> Path:
        """File of its key."""
        return self.state_dir / "private-key.pem"

    @property
    def artifacts_dir(self) -> Path:
        """Folder with one subfolder per job, named by its id."""
        return self.state_dir / "artifacts"

    @property
    def content_store_url(self) -> str:
        """Folder or URL of the files that the server shares with the cluster."""
        return self.content_store or str(self.state_dir / "content")

    @property
    def log_path(self) -> Path:
        """The log file, whose older parts lie next to it."""
        return self.state_dir / "logs" / LOG_FILE_NAME

    @property
    def uploads_dir(self) -> Path:
        """Folder of uploaded media, named by SHA-256."""
        return self.state_dir / "uploads"


def _is_web_address(url: str) -> bool:
    """Return whether this is a URL of an HTTP server, without a password; or empty."""
    parts = urlsplit(url)
    return not url or (parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc)
