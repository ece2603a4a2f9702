"""Media files: which paths and uploads a request may use."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.project_folders import MAX_PROJECT_FOLDERS, is_too_wide
from rewas_server.files.uploads import use_upload


class MediaLibrary:
    """The media that a server may read: files under the allowed roots, and uploads.

    Args:
        allowed_roots: Folders. Symbolic links are resolved before a path is checked.
        uploads_dir: Folder of uploaded files, named by SHA-256.
    """

    def __init__(self, allowed_roots: Iterable[Path], uploads_dir: Path) -> None:
        self.allowed_roots = tuple(root.resolve() for root in allowed_roots)
        self._uploads_dir = uploads_dir

    def locate(self, target_url: str, uploaded_media: Mapping[str, str], project_folders: Iterable[str] = ()) -> Path:
        """Return the file for a clip's target_url: its upload, or the file at this path.

        project_folders: folders that may be read in addition to the allowed roots. `check_project_folders` has
        accepted them.

        Raises ProblemError: PERMISSION for a path outside these folders, MEDIA for a file that is missing or was not
        uploaded, SETTINGS for an invalid SHA-256, TIMELINE for a URL that is not a file on this machine.
        """
        if target_url in uploaded_media:
            found = use_upload(self._uploads_dir, uploaded_media[target_url])
            if found is None:
                raise ProblemError(
                    f"The media {target_url} has not been uploaded.", "Upload it and try again.", ProblemKind.MEDIA
                )
            return found
        path = local_path(target_url)
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError) as error:
            raise _missing(path) from error
        folders = (*self.allowed_roots, *(Path(folder).resolve() for folder in project_folders))
        if not any(resolved.is_relative_to(folder) for folder in folders):
            # The remedy must not name the target of a link, which the client has not sent.
            raise ProblemError(
                f"{path} is outside the folders that the server may read.",
                "Upload the file, or start the server with `rewas serve --allow-root FOLDER` for its folder.",
                ProblemKind.PERMISSION,
            )
        if not resolved.is_file():
            raise _missing(path)
        if not os.access(resolved, os.R_OK):
            raise ProblemError(f"{path} is not readable.", "Change the file's permissions.", ProblemKind.MEDIA)
        return resolved


def check_project_folders(folders: Sequence[str]) -> None:
    """Check the project folders of a request. Raises ProblemError: SETTINGS, or PERMISSION for one that is too wide."""
    if len(folders) > MAX_PROJECT_FOLDERS:
        raise ProblemError(
            f"The request names {len(folders)} project folders; the limit is {MAX_PROJECT_FOLDERS}.",
            "Send fewer of them, and upload the media in the others.",
            ProblemKind.SETTINGS,
        )
    for folder in folders:
        if "\0" in folder or not Path(folder).is_absolute():
            raise ProblemError(
                f'The project folder "{folder[:200]}" is not an absolute path.',
                "Send absolute paths.",
                ProblemKind.SETTINGS,
            )
        try:
            resolved = Path(folder).resolve()
        except (OSError, RuntimeError) as error:
            raise ProblemError(
                f'The project folder "{folder[:200]}" cannot be read.', "Choose another folder.", ProblemKind.SETTINGS
            ) from error
        if is_too_wide(resolved):
            raise ProblemError(
                f"{folder} is too broad for a project folder: it is a whole disk, or contains the home folder.",
                "Move the project into its own folder, or start the server with `rewas serve --allow-root FOLDER`.",
                ProblemKind.PERMISSION,
            )


def local_path(target_url: str) -> Path:
    """Return the path of a target_url: a file URL or an absolute path.

    Raises ProblemError (TIMELINE) for other URLs, relative paths, and paths of other machines or systems.
    """
    if not target_url or "\0" in target_url:
        raise ProblemError(
            "The clip's media reference has no file.", "Relink the clip to its media.", ProblemKind.TIMELINE
        )
    path_text = target_url
    # A drive letter looks like a URL scheme.
    if (not PureWindowsPath(target_url).drive and "://" in target_url) or target_url.lower().startswith("file:"):
        path_text = _path_of_url(target_url)
    is_windows_path = bool(PureWindowsPath(path_text).drive) or path_text.startswith("\\\\")
    if is_windows_path and sys.platform != "win32":
        raise ProblemError(
            f"{path_text} is a Windows path, but the server does not run on Windows.",
            "Relink the clip to its media on this machine, or upload it.",
            ProblemKind.TIMELINE,
        )
    path = Path(path_text)
    if not path.is_absolute():
        raise ProblemError(
            f"The media path {path_text} is relative.", "Relink the clip with an absolute path.", ProblemKind.TIMELINE
        )
    return path


def _path_of_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme.lower() != "file" or parts.netloc not in ("", "localhost", "127.0.0.1"):
        raise ProblemError(
            f"The media {url} is not a file on this machine.",
            "Download or mount it and relink the clip, or upload it.",
            ProblemKind.TIMELINE,
        )
    # Many tools do not encode "#" and "?" in file names.
    path_text = unquote(url.partition(":")[2])
    if path_text.startswith("//"):
        path_text = "/" + path_text[2:].partition("/")[2]
    # file:///C:/clip.mov
    return path_text[1:] if re.match(r"/[A-Za-z]:[/\\]", path_text) else path_text


def _missing(path: Path) -> ProblemError:
    return ProblemError(f"The media file {path} does not exist.", "Relink the clip to its media.", ProblemKind.MEDIA)
