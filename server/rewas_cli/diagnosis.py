"""Checks of an installation. Each finds one thing, and says what to do if it is not as it should be."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import secrets
import shutil
import socket
import sqlite3
import stat
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewas_api.errors import ProblemError, ServerUnavailable
from rewas_engine import EngineError
from rewas_server.config import ServerConfig
from rewas_server.config_file import default_config_path, resolve_config

OK, WARNING, PROBLEM = "ok", "warning", "problem"
DISTRIBUTION = "rewas-nle"
OLD_BACKUP_DAYS = 3
LOW_SPACE_BYTES = 5 * 1000**3
TOO_LITTLE_SPACE_BYTES = 256 * 1000**2
NEEDED_DECODERS = ("h264", "hevc", "prores", "dnxhd", "mpeg4", "mjpeg", "vp9", "aac", "mp3", "flac", "pcm_s16le")
"""What cameras and editors write most."""
_CONNECT_TIMEOUT_S = 1.0
_EXTENSION_NAME = "rewas_nle"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was checked.
        level: OK, WARNING or PROBLEM.
        found: One sentence on what was found.
        remedy: What to do about it; "" if it is OK.
    """

    name: str
    level: str
    found: str
    remedy: str = ""


def check_installation(
    config_path: Path | None = None, *, database: str | None = None, full: bool = False
) -> Iterator[Finding]:
    """Yield the findings, one by one.

    Args:
        config_path: The configuration file of the server; the default one if None.
        database: URL of the server's PostgreSQL database, if the configuration does not name it.
        full: Whether to generate a short sound, which takes seconds to minutes.
    """
    yield from _check_python()
    yield from _check_packages()
    try:
        config = resolve_config({"database": database}, config_path).config
        file = config_path or default_config_path()
        there = f"{file} is valid." if file.is_file() else f"{file} does not exist, so the defaults apply."
        yield Finding("configuration", OK, there)
    except ProblemError as problem:
        yield Finding("configuration", PROBLEM, problem.what, problem.remedy)
        config = ServerConfig()
    # A fault of one check must not hide the others.
    for name, check in _CHECKS.items():
        yield from _guard(name, check, config)
    if full:
        yield from _guard("generation", _check_generation, config)


def _guard(name: str, check: Callable[[ServerConfig], Iterator[Finding]], config: ServerConfig) -> Iterator[Finding]:
    try:
        yield from check(config)
    except (ProblemError, EngineError) as problem:
        yield Finding(name, PROBLEM, problem.what, problem.remedy)
    except Exception as error:
        found = f"The check failed ({type(error).__name__}: {error})."
        yield Finding(name, PROBLEM, found, "Reinstall ReWaS NLE. If that does not help, report this line.")


def _check_python() -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    found = f"Python {version} on {platform.system()} {platform.machine()}."
    permitted = _required_python()
    if not SpecifierSet(permitted).contains(version, prereleases=True):
        yield Finding("python", PROBLEM, found, f"Install ReWaS NLE with Python {permitted}.")
    else:
        yield Finding("python", OK, found)


def _required_python() -> str:
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        # The next check reports it.
        return ""
    return str(metadata.json.get("requires_python", ""))


def _check_packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or ()]
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "packages", PROBLEM, f"{DISTRIBUTION} is not installed.", "Install it with pip, in this Python environment."
        )
        return
    wrong = []
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} is {installed}, but {requirement.specifier} is needed")
    if wrong:
        found = f"{DISTRIBUTION} {version} lacks packages: {'; '.join(wrong)}."
        yield Finding("packages", PROBLEM, found, f"Run `pip install --upgrade {DISTRIBUTION}`.")
    else:
        yield Finding("packages", OK, f"{DISTRIBUTION} {version}, with all packages that it needs.")


def _check_packs(config: ServerConfig) -> Iterator[Finding]:
    from rewas_engine import installed_packs
    from rewas_engine.packs.description import find_pack, read_pack, verify_files
    from rewas_engine.packs.library import unfinished_folders

    packs = installed_packs()
    for pack in packs:
        name = f"pack {pack.name}"
        try:
            if pack.problem is not None:
                raise pack.problem
            description = read_pack(find_pack(pack.name))
            verify_files(description)
            count = len(description.files)
            yield Finding(name, OK, f"Version {description.info.version}: all {count} files match their hashes.")
            if description.info.is_library:
                yield _check_recordings(description.path)
        except EngineError as problem:
            yield Finding(name, PROBLEM, problem.what, problem.remedy)
    if config.default_pack not in {pack.name for pack in packs}:
        yield Finding(
            f"pack {config.default_pack}",
            PROBLEM,
            f'The default pack "{config.default_pack}" is not installed.',
            "Add it with `rewas packs add`, or change `default_pack` in the configuration.",
        )
    for folder in unfinished_folders():
        yield Finding(
            "packs", WARNING, f"{folder} is an unfinished pack.", "If no process uses it, delete that folder."
        )


def _check_recordings(path: Path) -> Finding:
    """Look for the recordings of a library, without reading those that seem unchanged."""
    from rewas_engine.recordings.library_pack import read_library_pack
    from rewas_engine.recordings.verification import check_recordings

    name, check = f"recordings of {path.name}", check_recordings(read_library_pack(path), reads=False)
    if not check.unusable:
        return Finding(name, OK, f"All {check.count} recordings are in place.")
    first = next(check.sentences())
    found = f"{check.unusable} of {check.count} recordings are missing or have changed. {first}"
    remedy = "Connect the drive or restore the files, or run `rewas packs library` again with the same folders."
    return Finding(name, PROBLEM if check.unusable == check.count else WARNING, found, remedy)


def _check_device(config: ServerConfig) -> Iterator[Finding]:
    import torch

    from rewas_engine.runtime.devices import resolve_device
    from rewas_engine.runtime.precision import resolve_precision

    device = resolve_device(config.device)
    precision = resolve_precision("auto", device)
    if device == "cpu":
        about = f"the CPU with {torch.get_num_threads()} threads"
    else:
        memory = torch.cuda.get_device_properties(device).total_memory
        about = f"{device}, {torch.cuda.get_device_name(device)} with {memory / 1e9:.0f} GB"
    found = f"Models run on {about}, in {precision} where a pack permits it; PyTorch {torch.__version__}."
    yield Finding("device", OK, found)


def _check_media(config: ServerConfig) -> Iterator[Finding]:
    import av

    from rewas_engine.media.formats import CONTAINERS

    names = {part for name in av.formats_available for part in name.split(",")}
    formats = [name for name in CONTAINERS if name not in names]
    decoders = [name for name in NEEDED_DECODERS if name not in av.codecs_available]
    version = ".".join(map(str, av.library_versions["libavformat"]))
    if formats or decoders:
        missing = [*(f"the format {name}" for name in formats), *(f"the decoder {name}" for name in decoders)]
        level = PROBLEM if decoders or {"mov", "matroska", "wav"} & set(formats) else WARNING
        found = f"FFmpeg (libavformat {version}) lacks {', '.join(missing)}."
        yield Finding("media", level, found, "Install PyAV from its own wheels: `pip install --force-reinstall av`.")
    else:
        yield Finding("media", OK, f"FFmpeg (libavformat {version}) reads all {len(CONTAINERS)} formats.")


def _check_state_folder(config: ServerConfig) -> Iterator[Finding]:
    folder = config.state_dir
    name = "state folder"
    if not folder.exists():
        parent = next(each for each in folder.parents if each.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding(name, OK, f"{folder} does not exist yet; the server creates it when it first starts.")
        else:
            yield Finding(
                name, PROBLEM, f"{folder} cannot be created in {parent}.", "Change `state_dir` in the configuration."
            )
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield Finding(name, OK, f"{folder} is writable.")
    except OSError as error:
        found = f"{folder} is not writable ({error.strerror})."
        yield Finding(
            name, PROBLEM, found, "Give yourself write permission, or change `state_dir` in the configuration."
        )
    free_bytes = shutil.disk_usage(folder).free
    free = f"{free_bytes / 1e9:.1f} GB are free for {folder}."
    if free_bytes < LOW_SPACE_BYTES:
        level = PROBLEM if free_bytes < TOO_LITTLE_SPACE_BYTES else WARNING
        yield Finding(
            "disk space", level, free, "Free some space; `rewas jobs purge --older-than 30d` deletes old jobs."
        )
    else:
        yield Finding("disk space", OK, free)
    yield from _check_modes(config)


def _check_modes(config: ServerConfig) -> Iterator[Finding]:
    if os.name != "posix":
        return
    paths = [config.state_dir, config.database_path, config.token_path, config.artifacts_dir, config.uploads_dir]
    paths += [config.log_path.parent, config.log_path]
    open_paths = [path for path in paths if path.exists() and path.stat().st_mode & 0o077]
    if open_paths:
        listed = ", ".join(f"{path} ({stat.S_IMODE(path.stat().st_mode):o})" for path in open_paths)
        yield Finding(
            "permissions",
            PROBLEM,
            f"Other users can read {listed}.",
            f"Run `chmod -R go-rwx {config.state_dir}`.",
        )
    else:
        yield Finding("permissions", OK, "Only you can read the state of the server.")


def _check_database(config: ServerConfig) -> Iterator[Finding]:
    yield from _check_postgres(config) if config.database else _check_sqlite(config)


def _check_postgres(config: ServerConfig) -> Iterator[Finding]:
    from rewas_server.jobs.state_identity import StateIdentity

    name = "database"
    try:
        from rewas_server.jobs.postgres_store import inspect_database
    except ModuleNotFoundError:
        remedy = f'Run `pip install "{DISTRIBUTION}[postgres]"`.'
        yield Finding(name, PROBLEM, "The setting `database` needs the package psycopg.", remedy)
        return
    state = inspect_database(config.database)
    if not state.identity:
        yield Finding(name, OK, f"{state.name} is empty; the server creates its tables when it first starts.")
    else:
        yield Finding(name, OK, f"{state.name} can be used. Number of jobs: {state.jobs}.")
    if not state.is_durable:
        found = f"{state.name} may lose jobs when its machine fails: its setting fsync is off."
        yield Finding(name, WARNING, found, "Turn fsync on in the configuration of PostgreSQL.")
    own = StateIdentity(config.state_dir).read()
    if state.identity and state.identity != own:
        found = f"The state folder {config.state_dir} does not belong to {state.name}."
        remedy = "Change `state_dir` or `database` in the configuration, or start with a new folder and database."
        yield Finding(name, PROBLEM if own or state.jobs else WARNING, found, remedy)
    yield from _check_set_aside(state.set_aside)


def _check_set_aside(count: int) -> Iterator[Finding]:
    if count:
        found = f"Jobs that could not be read and were set aside: {count}."
        remedy = "Submit their work again; the database table set_aside lists them with the reasons."
        yield Finding("set-aside jobs", WARNING, found, remedy)


def _check_content_store(config: ServerConfig) -> Iterator[Finding]:
    """Store a small file where the server and the cluster share files, read it, and delete it."""
    if config.backend != "ray" and not config.content_store:
        return
    from rewas_server.files.content_store import ContentStore

    with tempfile.TemporaryDirectory() as folder:
        store = ContentStore(config.content_store_url, Path(folder) / "cache")
        content = secrets.token_bytes(1024)
        (Path(folder) / "file").write_bytes(content)
        sha256 = store.put(Path(folder) / "file")
        try:
            is_same = store.get(sha256).read_bytes() == content
        finally:
            store.delete(sha256)
    name = "content store"
    if is_same:
        yield Finding(name, OK, f"{store.name} stores, returns and deletes files.")
    else:
        yield Finding(name, PROBLEM, f"{store.name} does not return the file that was stored.", "Choose another store.")


def _check_cluster(config: ServerConfig) -> Iterator[Finding]:
    """Ask the cluster whether it takes jobs. Without `ray_url`, the server starts Ray itself."""
    if config.backend != "ray":
        return
    name = "cluster"
    if not config.ray_url:
        try:
            version = importlib.metadata.version("ray")
        except importlib.metadata.PackageNotFoundError:
            remedy = f'Run `pip install "{DISTRIBUTION}[ray]"`, or set `ray_url` to a cluster.'
            yield Finding(name, PROBLEM, "The setting `backend` needs the package ray, which is not installed.", remedy)
            return
        yield Finding(name, OK, f"The server starts Ray {version} on this machine.")
        return
    from rewas_server.cluster.readiness import find_problem, open_session

    assert config.ray_token_file is not None
    try:
        token = config.ray_token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        found = f"The cluster's token {config.ray_token_file} cannot be read ({error})."
        yield Finding(name, PROBLEM, found, "Change `ray_token_file` in the configuration.")
        return
    url = config.ray_url.rstrip("/")

    async def ask() -> str:
        async with open_session(token) as session:
            return await find_problem(session, url)

    problem = asyncio.run(ask())
    if problem:
        remedy = "Check `ray_url` in the configuration, and the application on the cluster."
        yield Finding(name, PROBLEM, problem, remedy)
    else:
        yield Finding(name, OK, f"The cluster at {url} takes jobs.")


def _check_sqlite(config: ServerConfig) -> Iterator[Finding]:
    from rewas_server.jobs.sqlite_file import DamagedFile, check_content, connect_read_only
    from rewas_server.jobs.sqlite_recovery import damaged_files

    path, name = config.database_path, "database"
    for damaged in damaged_files(path):
        found = f"{damaged} is a damaged database, from which the server recovered what it could."
        yield Finding(name, WARNING, found, "Delete it once you are sure that no job is missing.")
    if not path.exists():
        return
    try:
        # Read-only, so that a running server is not disturbed.
        with contextlib.closing(connect_read_only(path, busy_timeout_s=5)) as connection:
            check_content(connection, path)
            (jobs,) = connection.execute("SELECT count(*) FROM job").fetchone()
            (set_aside,) = connection.execute("SELECT count(*) FROM set_aside").fetchone()
    except (DamagedFile, sqlite3.DatabaseError) as error:
        remedy = "Restart the server: it keeps the file and restores what it can from it and the nightly copies."
        yield Finding(name, PROBLEM, f"{path} is damaged or cannot be read ({error}).", remedy)
        return
    yield Finding(name, OK, f"{path} is intact. Number of jobs: {jobs}.")
    yield from _check_set_aside(set_aside)


def _check_backups(config: ServerConfig) -> Iterator[Finding]:
    from rewas_server.jobs.backup import list_backups

    if config.database or not config.database_path.exists():
        return
    backups = list_backups(config.backups_dir)
    if not backups:
        found = f"There is no copy of the database in {config.backups_dir} yet."
        yield Finding("backups", WARNING, found, "The server makes one every night while it runs.")
        return
    age_days = (time.time() - backups[0].stat().st_mtime) / 86_400
    found = f"The latest copy of the database is {backups[0]}, {age_days:.1f} days old. Copies: {len(backups)}."
    if age_days > OLD_BACKUP_DAYS:
        remedy = "Look for warnings in the server's log, and keep the server running at night."
        yield Finding("backups", WARNING, found, remedy)
    else:
        yield Finding("backups", OK, found)


def _check_token(config: ServerConfig) -> Iterator[Finding]:
    from rewas_api.access import read_token_file

    path = config.token_path
    if not path.exists():
        yield Finding("token", OK, f"{path} does not exist yet; the server creates it when it first starts.")
        return
    try:
        read_token_file(path)
    except OSError as error:
        yield Finding("token", PROBLEM, f"{path} cannot be read ({error.strerror}).", "Run this as the server's user.")
        return
    yield Finding("token", OK, f"Only you can read {path}.")


def _check_server(config: ServerConfig) -> Iterator[Finding]:
    from rewas_api.access import read_token_file
    from rewas_api.client import RewasClient

    name, address = "server", f"{config.local_host}:{config.port}"
    try:
        with socket.create_connection((config.local_host, config.port), timeout=_CONNECT_TIMEOUT_S):
            pass
    except OSError:
        yield Finding(name, OK, f"No server is running; port {config.port} is free.")
        return
    token = read_token_file(config.token_path) if config.certificate else None
    try:
        with RewasClient(address, timeout_s=5, token=token, certificate=config.certificate) as client:
            info = client.get_server_info()
    except ServerUnavailable as problem:
        remedy = "Stop that program, or change `port` in the configuration."
        yield Finding(
            name, PROBLEM, f"Port {config.port} belongs to a program that is not ReWaS. {problem.what}", remedy
        )
        return
    if info.worker_ready:
        found = f"ReWaS {info.version} answers at {address}; its worker runs on {info.device or 'a device'}."
        yield Finding(name, OK, found)
    else:
        reason = info.worker_problem or "Its worker process is starting."
        level = PROBLEM if info.worker_problem else WARNING
        found = f"ReWaS {info.version} answers at {address}, but has no worker. {reason}"
        yield Finding(name, level, found, "Check the server's log; jobs wait in the meantime.")


def _check_extension(config: ServerConfig) -> Iterator[Finding]:
    ours = importlib.metadata.version(DISTRIBUTION)
    name = "blender extension"
    found_any = False
    for manifest in _find_extensions():
        found_any = True
        folder = manifest.parent
        try:
            theirs = str(tomllib.loads(manifest.read_text("utf-8"))["version"])
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
            yield Finding(name, PROBLEM, f"{folder} is damaged ({error}).", "Install the extension again in Blender.")
            continue
        if theirs != ours:
            found = f"{folder} has version {theirs}; the server has {ours}."
            yield Finding(name, PROBLEM, found, "Install the same version of both.")
        else:
            yield Finding(name, OK, f"{folder} has version {theirs}, the same as the server.")
    if not found_any:
        yield Finding(name, OK, "No ReWaS extension was found; Blender may be installed elsewhere.")


def _find_extensions() -> list[Path]:
    """The manifests of the extension in the folders of Blender's versions."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", home / "AppData" / "Roaming")) / "Blender Foundation" / "Blender"
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support" / "Blender"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "blender"
    return sorted(base.glob(f"*/extensions/*/{_EXTENSION_NAME}/blender_manifest.toml"))


def _check_generation(config: ServerConfig) -> Iterator[Finding]:
    """Generate a second of sound from a clip that is written for it."""
    from rewas_engine import ReWaS, VideoClip

    with tempfile.TemporaryDirectory() as folder:
        path = _write_clip(Path(folder) / "check.mp4")
        began_s = time.monotonic()
        model = ReWaS.from_pretrained(config.default_pack, device=config.device, execution=config.execution)
        loaded_s = time.monotonic()
        result = model.generate(VideoClip(path), prompt="a ball bouncing", seed=1)
        done_s = time.monotonic()
    waveform = result.takes[0].stems["primary"].waveform
    found = (
        f"On {model.device}, loading {config.default_pack} took {loaded_s - began_s:.1f} s, and generating a second of "
        f"sound took {done_s - loaded_s:.1f} s."
    )
    if not _has_sound(waveform):
        remedy = "Check the pack with `rewas packs verify`, and try --device cpu."
        yield Finding("generation", PROBLEM, f"{found} The sound is silent or has invalid samples.", remedy)
    else:
        yield Finding("generation", OK, found)


def _has_sound(waveform: Any) -> bool:
    import numpy as np

    return bool(np.isfinite(waveform).all() and np.abs(waveform).max() > 0)


def _write_clip(path: Path) -> Path:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(25):
            image = np.zeros((96, 128, 3), np.uint8)
            top = 70 - abs(number % 12 - 6) * 8
            image[top : top + 12, 58:70] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    return path


_CHECKS: dict[str, Callable[[ServerConfig], Iterator[Finding]]] = {
    "packs": _check_packs,
    "device": _check_device,
    "media": _check_media,
    "state folder": _check_state_folder,
    "database": _check_database,
    "content store": _check_content_store,
    "cluster": _check_cluster,
    "backups": _check_backups,
    "token": _check_token,
    "server": _check_server,
    "blender extension": _check_extension,
}
