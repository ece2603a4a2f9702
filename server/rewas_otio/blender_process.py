"""Finds the ReWaS extension, and reads the timelines of a .blend file in a separate process of Blender."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rewas_otio.errors import PluginError
from rewas_server.blender_program import (
    OTHER_PROGRAM,
    BlenderError,
    blender_command,
    blender_environment,
    find_blender,
    version_in,
)

EXTENSION_VARIABLE = "REWAS_EXTENSION"
DEFAULT_TIME_LIMIT_S = 300.0
_SCRIPT = Path("blender", "blend_timelines.py")
_REPORT = "report.json"
_EXTENSION_NAME = "rewas_nle"
_MAX_LOG_BYTES = 4096
_MAGIC = (b"BLENDER", b"\x28\xb5\x2f\xfd", b"\x1f\x8b")
"""How .blend files begin: uncompressed, zstandard, gzip."""
_log = logging.getLogger(__name__)


class BlendError(PluginError):
    """The timelines of a .blend file cannot be read."""


def read_blend(
    blend: Path,
    scene: str = "",
    blender: str = "",
    extension: str = "",
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> list[str]:
    """Return the timelines of a .blend file as OTIO JSON, one for each scene that has strips.

    Args:
        blend: The file.
        scene: Name of the scene to read; "" reads every scene that has strips.
        blender: Path of Blender or of a Python with the module bpy; "" finds Blender.
        extension: Folder of the ReWaS extension; "" finds it.
        time_limit_s: How long Blender may take, in seconds.

    Raises BlendError.
    """
    _check_file(blend)
    try:
        program = find_blender(blender, "read .blend files")
    except BlenderError as error:
        raise BlendError(error.what, error.remedy) from error
    script = find_extension(extension) / _SCRIPT
    with tempfile.TemporaryDirectory(prefix="rewas-blend-") as folder:
        output = Path(folder, "output")
        profile = Path(folder, "profile")
        output.mkdir()
        profile.mkdir()
        arguments = [str(blend.absolute()), str(output), *([scene] if scene else [])]
        command = [*blender_command(program, script), "--", *arguments]
        ended = _run(command, profile, Path(folder, "log"), blend, time_limit_s)
        return _read_report(output, ended, blend, program)


def find_extension(chosen: str = "") -> Path:
    """Return the folder of the ReWaS extension. chosen: what the user entered, or "". Raises BlendError."""
    for origin, name in (("", chosen), (f" ({EXTENSION_VARIABLE})", os.environ.get(EXTENSION_VARIABLE, ""))):
        if not name:
            continue
        folder = Path(name).expanduser()
        if not (folder / _SCRIPT).is_file():
            raise BlendError(
                f"The folder {folder}{origin} does not contain the ReWaS extension.",
                f"Enter the folder {_EXTENSION_NAME} of an installed or unpacked extension.",
            )
        return folder.absolute()
    found = next((folder for folder in _extension_folders() if (folder / _SCRIPT).is_file()), None)
    if found is None:
        raise BlendError(
            "The ReWaS extension, which reads .blend files, is not installed in Blender.",
            f"Install it in Blender, or set {EXTENSION_VARIABLE} to its folder.",
        )
    return found


def _extension_folders() -> Iterator[Path]:
    """Yield where the extension may be: in a checkout, or in the profile of a Blender, newest version first."""
    yield Path(__file__).resolve().parents[2] / "addon" / _EXTENSION_NAME
    if (own := os.environ.get("BLENDER_USER_EXTENSIONS")) is not None:
        yield from sorted(Path(own).glob(f"*/{_EXTENSION_NAME}"))
    if (own := os.environ.get("BLENDER_USER_RESOURCES")) is not None:
        yield from sorted(Path(own, "extensions").glob(f"*/{_EXTENSION_NAME}"))
    profiles = _profiles_folder()
    yield from sorted(profiles.glob(f"*/extensions/*/{_EXTENSION_NAME}"), key=version_in, reverse=True)


def _profiles_folder() -> Path:
    """Return the folder that contains the settings of each version of Blender."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home()), "Blender Foundation", "Blender")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Blender"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "blender")


def _check_file(blend: Path) -> None:
    try:
        with blend.open("rb") as file:
            start = file.read(max(map(len, _MAGIC)))
    except OSError as error:
        raise BlendError(f"Cannot read {blend} ({error.strerror or error}).", "Check the path.") from error
    if not start.startswith(_MAGIC):
        raise BlendError(f"{blend.name} is not a Blender file.", "Choose a file that Blender has saved.")


def _run(command: list[str], profile: Path, log: Path, blend: Path, time_limit_s: float) -> str:
    """Run Blender. Returns how it ended as a clause, "" if it ended well. Raises BlendError."""
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=blender_environment(profile),
                start_new_session=True,
            )
        except OSError as error:
            raise BlendError(f"{command[0]} does not start ({error.strerror or error}).", OTHER_PROGRAM) from error
        try:
            status = process.wait(time_limit_s)
        except BaseException as error:
            _end(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise BlendError(
                f"Blender did not read {blend.name} within {time_limit_s:g} s.",
                "Check that the file opens in Blender, or raise time_limit_s.",
            ) from None
    if not status:
        return ""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - _MAX_LOG_BYTES, 0))
        lines = file.read().decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"it was terminated by {signal.Signals(-status).name}"
    return last or f"exit code {status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Blender and the processes that it has started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _read_report(output: Path, ended: str, blend: Path, program: Path) -> list[str]:
    """Return the timelines that Blender has written. ended: how it ended if it failed. Raises BlendError."""
    try:
        report = json.loads((output / _REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        reason = f" ({ended})" if ended else ""
        raise BlendError(
            f"{program} ended before it had read {blend.name}{reason}.",
            "Check that the file opens in Blender 4.2 or later. If it does, save it again.",
        ) from None
    if "what" in report:
        raise BlendError(report["what"], report["remedy"])
    for note in report["notes"]:
        _log.warning("%s", note)
    return [(output / name).read_text(encoding="utf-8") for name in report["timelines"]]
