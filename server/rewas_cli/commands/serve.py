"""`rewas serve`: the local server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.shared_options import (
    MODEL_PANEL,
    AvhModelOption,
    CompileOption,
    ConfigFileOption,
    ConflictModelOption,
    LanguageModelOption,
    LowMemoryOption,
    PackOption,
    PictureModelOption,
    PrecisionOption,
    SoundModelOption,
)

if TYPE_CHECKING:
    from rewas_server.config import ServerConfig

_SERVER_PANEL = "Server"
_STORAGE_PANEL = "What the server keeps"
_CLUSTER_PANEL = "Cluster"
_OBSERVATION_PANEL = "Log, metrics and web page"
EXAMPLES = """\
rewas serve
rewas serve --port 0 --allow-root /media/films --pack starter --device cuda:0
rewas serve --stems-limit-gb 200 --keep-days 90
rewas serve --metrics-port 9464 --log-level debug
rewas serve --web-port 50052
rewas serve --host 192.0.2.7 --make-cert
rewas serve --backend ray --ray-replicas 2
"""


class Backend(StrEnum):
    """Where jobs run."""

    LOCAL = "local"
    RAY = "ray"


class LogLevel(StrEnum):
    """Levels of the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="The name or address to listen on, 127.0.0.1 by default. Any other one needs a certificate.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="The port; 0 picks a free one.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    allow_root: Annotated[
        list[Path] | None,
        typer.Option(
            "--allow-root",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="A folder that the server may read media from; can be repeated. "
            "By default: your video folder. Editors on this computer add the folders of their projects.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            metavar="DIR",
            file_okay=False,
            help="The folder for jobs and stems.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Store the jobs in this PostgreSQL database instead of the state folder, as in "
            "postgresql://USER@HOST/DATABASE. Passwords come from a password file or PGPASSWORD.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The TLS certificate. By default, the one from --make-cert if other computers can reach the host.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The private key of the certificate.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    make_cert: Annotated[
        bool,
        typer.Option(
            "--make-cert",
            help="Write a self-signed certificate and its key into the state folder, and exit.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = False,
    cert_name: Annotated[
        list[str] | None,
        typer.Option(
            "--cert-name",
            metavar="HOST",
            help="With --make-cert: another name or address by which clients reach the server; can be repeated.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    config_file: ConfigFileOption = None,
    stems_limit_gb: Annotated[
        float | None,
        typer.Option(
            "--stems-limit-gb",
            min=0,
            metavar="GB",
            help="Maximum size of all stems on the server. Stems of the oldest jobs are deleted first; those of pinned "
            "jobs are kept. 50 by default.",
            rich_help_panel=_STORAGE_PANEL,
        ),
    ] = None,
    uploads_limit_gb: Annotated[
        float | None,
        typer.Option(
            "--uploads-limit-gb",
            min=0,
            metavar="GB",
            help="Maximum size of all uploaded media. The least recently used are deleted first; those that an "
            "unfinished job needs are kept. 50 by default.",
            rich_help_panel=_STORAGE_PANEL,
        ),
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            "--keep-days",
            min=0.01,
            metavar="DAYS",
            help="How long finished jobs and unused uploads are kept. 30 by default.",
            rich_help_panel=_STORAGE_PANEL,
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65535,
            metavar="N",
            help="Serve Prometheus metrics at http://127.0.0.1:N/metrics; 0 picks a free port. Off by default.",
            rich_help_panel=_OBSERVATION_PANEL,
        ),
    ] = None,
    web_port: Annotated[
        int | None,
        typer.Option(
            "--web-port",
            min=0,
            max=65535,
            metavar="N",
            help="Serve a web page with the queue and the latest sounds at http://127.0.0.1:N/; 0 picks a free port. "
            "Off by default.",
            rich_help_panel=_OBSERVATION_PANEL,
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            "--log-level",
            metavar="LEVEL",
            help="The lowest level that is logged: debug, info, warning or error. Info by default.",
            rich_help_panel=_OBSERVATION_PANEL,
        ),
    ] = None,
    log_prompts: Annotated[
        bool,
        typer.Option(
            "--log-prompts",
            help="Allow prompts and the messages of unexpected exceptions in the log.",
            rich_help_panel=_OBSERVATION_PANEL,
        ),
    ] = False,
    backend: Annotated[
        Backend | None,
        typer.Option(
            metavar="NAME",
            help="Where jobs run: local, in worker processes on this computer; or ray, on a Ray cluster. Local by "
            "default.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None,
    ray_url: Annotated[
        str | None,
        typer.Option(
            "--ray-url",
            metavar="URL",
            help="The address of the application on the cluster, as in http://HOST:8000. By default, the server "
            "starts Ray on this computer.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None,
    ray_token_file: Annotated[
        Path | None,
        typer.Option(
            "--ray-token-file",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="A file with the secret that the application on the cluster expects.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None,
    ray_replicas: Annotated[
        int | None,
        typer.Option(
            "--ray-replicas",
            min=1,
            metavar="N",
            help="Number of replicas to which jobs are sent at the same time. 1 by default.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None,
    ray_jobs_per_replica: Annotated[
        int | None,
        typer.Option(
            "--ray-jobs-per-replica",
            min=1,
            metavar="N",
            help="Number of jobs that each replica runs at the same time. 1 by default.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None,
    content_store: Annotated[
        str | None,
        typer.Option(
            "--content-store",
            metavar="URL",
            help="Where the server and the cluster share media and stems: a folder, or a URL as in "
            "s3://BUCKET/FOLDER. By default, a folder in the state folder.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None,
    conflict_model: ConflictModelOption = None,
    avh_model: AvhModelOption = None,
    picture_model: PictureModelOption = None,
    sound_model: SoundModelOption = None,
    language_model: LanguageModelOption = None,
    video_model: Annotated[
        Path | None,
        typer.Option(
            "--video-model",
            metavar="DIR",
            file_okay=False,
            help="A model from rewas train tavd, which generates videos with sound from a sentence.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    pack: PackOption = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="Where the model runs: cpu, cuda:0, several GPUs as in cuda:0,cuda:1, or auto (all GPUs, or the "
            "CPU if there is none). One worker process runs on each. Auto by default.",
            autocompletion=complete_from("auto", "cpu", "cuda:0"),
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    precision: PrecisionOption = None,
    compiled: CompileOption = False,
    low_memory: LowMemoryOption = False,
) -> None:
    """Run the local server that editors connect to, until Ctrl-C.

    Each setting comes from its option, an environment variable, the configuration file, or its default: see
    rewas config show.
    """
    from rewas_cli.console import note
    from rewas_cli.runner import check_avh_model, check_conflict_model, check_model_folder
    from rewas_server.config_file import resolve_config
    from rewas_server.grpc.app import serve as run_server

    if conflict_model is not None:
        check_conflict_model(conflict_model)
    if avh_model is not None:
        check_avh_model(avh_model)
    for option, folder in (
        ("--picture-model", picture_model),
        ("--sound-model", sound_model),
        ("--language-model", language_model),
        ("--video-model", video_model),
    ):
        if folder is not None:
            check_model_folder(folder, option)
    options = {
        "host": host,
        "port": port,
        "certificate": certificate.absolute() if certificate else None,
        "private_key": private_key.absolute() if private_key else None,
        "allowed_roots": tuple(root.resolve() for root in allow_root) if allow_root else None,
        "state_dir": state_dir.absolute() if state_dir else None,
        "stems_limit_bytes": _bytes(stems_limit_gb),
        "uploads_limit_bytes": _bytes(uploads_limit_gb),
        "max_age_days": keep_days,
        "database": database,
        "metrics_port": metrics_port,
        "web_port": web_port,
        "log_level": log_level.value if log_level else None,
        "log_prompts": log_prompts or None,
        "backend": backend.value if backend else None,
        "ray_url": ray_url,
        "ray_token_file": ray_token_file.absolute() if ray_token_file else None,
        "ray_replicas": ray_replicas,
        "ray_jobs_per_replica": ray_jobs_per_replica,
        "content_store": content_store,
        "default_pack": pack,
        "device": device,
        "execution.precision": precision,
        "execution.compiled": compiled or None,
        "execution.low_memory": low_memory or None,
        "conflict_model": conflict_model.absolute() if conflict_model else None,
        "avh_model": avh_model.absolute() if avh_model else None,
        "picture_model": picture_model.absolute() if picture_model else None,
        "sound_model": sound_model.absolute() if sound_model else None,
        "language_model": language_model.absolute() if language_model else None,
        "video_model": video_model.absolute() if video_model else None,
    }
    config = resolve_config(options, config_file).config
    if make_cert:
        _make_certificate(config, cert_name or [])
        return
    run_server(
        config,
        lambda bound_port: note(f"ReWaS listens on {config.host}:{bound_port}. Ctrl-C ends it."),
        on_web_page=lambda link: note(
            f"Open {link} once, within 10 minutes; `rewas status --web` prints another link."
        ),
        log_on_terminal=True,
    )


def _bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else round(gigabytes * 1e9)


def _make_certificate(config: ServerConfig, names: list[str]) -> None:
    from rewas_cli.console import Printer
    from rewas_server.files.private_files import keep_new_files_private
    from rewas_server.grpc.certificates import make_certificate

    keep_new_files_private()
    made = make_certificate(config, names)
    lines = [
        f"Certificate: {made.path}",
        f"Private key: {made.key_path}",
        f"Valid for: {', '.join(made.names)}",
        f"SHA-256 fingerprint: {made.fingerprint}",
        "Copy the certificate to each client, and compare its fingerprint there:",
        "  openssl x509 -in certificate.pem -noout -fingerprint -sha256",
        f"Also copy {config.token_path}, which the server writes when it first starts, over a secure channel. Then:",
        f"  rewas --certificate certificate.pem --token-file token status --server {made.names[0]}:{config.port}",
    ]
    Printer(as_json=False).result({}, lines)
