"""Media: which files a request may name, and files that were uploaded."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.atomic_files import flush_to_disk

SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
EXTENSION_PATTERN = re.compile(r"(\.[A-Za-z0-9]{1,9})?")
FREE_SPACE_MARGIN_BYTES = 256 * 1024**2


class MediaLibrary:
    """The media that a server may read: files under the allowed roots, and uploads.

    allowed_roots: folders; links are followed before a path is held against them. uploads_dir: where uploads lie,
    named by SHA-256. upload_limit_bytes: largest upload.
    """

    def __init__(self, allowed_roots: Iterable[Path], uploads_dir: Path, upload_limit_bytes: int) -> None:
        self.allowed_roots = tuple(root.resolve() for root in allowed_roots)
        self._uploads_dir = uploads_dir
        self._upload_limit_bytes = upload_limit_bytes

    def locate(self, target_url: str, uploaded_media: Mapping[str, str]) -> Path:
        """The file behind a clip's target_url: the upload that stands for it, or the file that it names.

        Raises ProblemError: PERMISSION for a path outside the allowed roots, MEDIA for a file that is missing or was
        not uploaded, TIMELINE for a URL that names no file of this machine.
        """
        if target_url in uploaded_media:
            found = self.find(uploaded_media[target_url])
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
        if not any(resolved.is_relative_to(root) for root in self.allowed_roots):
            raise ProblemError(
                f"{path} lies outside the folders that the server may read.",
                f"Start the server with `rewas serve --allow-root {resolved.parent}`, or upload the file.",
                ProblemKind.PERMISSION,
            )
        if not resolved.is_file():
            raise _missing(path)
        if not os.access(resolved, os.R_OK):
            raise ProblemError(f"{path} may not be read.", "Change the file's permissions.", ProblemKind.MEDIA)
        return resolved

    def find(self, sha256: str) -> Path | None:
        """The upload with these bytes, if there is one. Raises ProblemError (SETTINGS) for what is no SHA-256."""
        if not SHA256_PATTERN.fullmatch(sha256):
            raise ProblemError(
                f'"{sha256[:80]}" is not a SHA-256.', "Give 64 lower-case hexadecimal digits.", ProblemKind.SETTINGS
            )
        return next(iter(sorted(self._uploads_dir.glob(f"{sha256}*"))), None)

    def receive(self, header: rewas_pb2.UploadHeader) -> Upload:
        """Begin to receive a file. Raises ProblemError where the header cannot be right or the file has no room."""
        if not SHA256_PATTERN.fullmatch(header.sha256) or not EXTENSION_PATTERN.fullmatch(header.extension):
            raise ProblemError(
                f'The upload names itself "{header.sha256[:80]}" "{header.extension[:20]}".',
                'Give 64 lower-case hexadecimal digits and an extension such as ".mov".',
                ProblemKind.SETTINGS,
            )
        if header.size_bytes == 0:
            raise ProblemError("The media to upload is empty.", "Choose a file with a picture.", ProblemKind.MEDIA)
        if header.size_bytes > self._upload_limit_bytes:
            raise ProblemError(
                f"The media to upload has {header.size_bytes} bytes; at most {self._upload_limit_bytes} are taken.",
                "Cut or transcode it, or give it by path.",
                ProblemKind.RESOURCES,
            )
        return Upload(header, self._uploads_dir)

    def remove_partial_uploads(self) -> None:
        """Remove what uploads left behind that never ended."""
        shutil.rmtree(self._uploads_dir / "incoming", ignore_errors=True)


class Upload:
    """One file on its way in: it gets its name only when all its bytes are there and are those announced."""

    def __init__(self, header: rewas_pb2.UploadHeader, uploads_dir: Path) -> None:
        self._header = header
        self._hash = hashlib.sha256()
        self._received_bytes = 0
        self._final_path = uploads_dir / f"{header.sha256}{header.extension.lower()}"
        incoming_dir = uploads_dir / "incoming"
        self._part_path = incoming_dir / f"{header.sha256}-{uuid.uuid4().hex}"
        try:
            incoming_dir.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(incoming_dir).free < header.size_bytes + FREE_SPACE_MARGIN_BYTES:
                raise OSError("not enough free space")
            self._file = self._part_path.open("xb")
        except OSError as error:
            raise self._storage_problem(error) from error

    def append(self, data: bytes) -> None:
        """Take the next bytes. Raises ProblemError where they are too many or the disk refuses them."""
        self._received_bytes += len(data)
        if self._received_bytes > self._header.size_bytes:
            raise self._mismatch_problem()
        self._hash.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise self._storage_problem(error) from error

    def finish(self) -> rewas_pb2.UploadMediaResponse:
        """Check the bytes and give the file its name. Raises ProblemError where they are not those announced."""
        if self._received_bytes != self._header.size_bytes or self._hash.hexdigest() != self._header.sha256:
            raise self._mismatch_problem()
        try:
            flush_to_disk(self._file)
            self._file.close()
            self._part_path.replace(self._final_path)
        except OSError as error:
            raise self._storage_problem(error) from error
        return rewas_pb2.UploadMediaResponse(sha256=self._header.sha256, size_bytes=self._received_bytes)

    def close(self) -> None:
        """Let go; what has not been finished is removed."""
        self._file.close()
        self._part_path.unlink(missing_ok=True)

    def _mismatch_problem(self) -> ProblemError:
        return ProblemError(
            f"The upload does not match what was announced ({self._received_bytes} of {self._header.size_bytes} bytes "
            "arrived, or other ones).",
            "See that the file is not being changed, and upload it again.",
            ProblemKind.SETTINGS,
        )

    def _storage_problem(self, error: OSError) -> ProblemError:
        return ProblemError(
            f"The upload cannot be stored ({error.strerror or error}).",
            "Free some space in the server's state folder, or give the media by path.",
            ProblemKind.RESOURCES,
        )


def local_path(target_url: str) -> Path:
    """The path that a clip's target_url names: a file URL or an absolute path.

    Raises ProblemError (TIMELINE) for URLs of other kinds, relative paths, and paths of other machines or systems.
    """
    if not target_url or "\0" in target_url:
        raise ProblemError(
            "The clip's media reference names no file.", "Relink the clip to its media.", ProblemKind.TIMELINE
        )
    path_text = target_url
    # A drive letter would pass for a URL's scheme.
    if (not PureWindowsPath(target_url).drive and "://" in target_url) or target_url.lower().startswith("file:"):
        path_text = _path_of_url(target_url)
    is_windows_path = bool(PureWindowsPath(path_text).drive) or path_text.startswith("\\\\")
    if is_windows_path and sys.platform != "win32":
        raise ProblemError(
            f"{path_text} is a Windows path, and the server does not run on Windows.",
            "Relink the clip to where its media lies on this machine, or upload it.",
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
            f"The media {url} is not a file of this machine.",
            "Download or mount it and relink the clip, or upload it.",
            ProblemKind.TIMELINE,
        )
    # "#" and "?" are letters of file names to the many writers that do not encode them.
    path_text = unquote(url.partition(":")[2])
    if path_text.startswith("//"):
        path_text = "/" + path_text[2:].partition("/")[2]
    # file:///C:/clip.mov
    return path_text[1:] if re.match(r"/[A-Za-z]:[/\\]", path_text) else path_text


def _missing(path: Path) -> ProblemError:
    return ProblemError(f"There is no media file {path}.", "Relink the clip to its media.", ProblemKind.MEDIA)
