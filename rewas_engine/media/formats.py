"""Formats of media that are read, and files that name other files, which are not."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import av
import av.logging

from rewas_engine.errors import MediaError

# FFmpeg recognises nearly 400 formats, and many of their readers are old and rarely tested. These are what cameras,
# editors, screen recorders, phones and the web write. Formats that open other files are left out: playlists (hls, dash,
# concat, imf, sdp, rtsp), image sequences (image2, which also opens the planes of raw images), vobsub, Magic Lantern
# video, filters and devices as input (lavfi, v4l2, x11grab), SVG, and scripts. So are text that is shown as video (tty,
# bin, xbin) and sound without a header, since any file could be taken for them, and streams without time stamps (h264,
# hevc), whose frames cannot be placed.
CONTAINERS = (
    # Video, with sound
    "mov", "matroska", "webm", "mxf", "mpegts", "mpeg", "avi", "asf", "flv", "gxf", "dv", "nut", "wtv", "rm",
    # Video alone
    "yuv4mpegpipe", "ivf", "obu", "av1", "mpegvideo", "mjpeg", "dnxhd", "cine",
    # Sound
    "wav", "w64", "aiff", "caf", "au", "flac", "ogg", "mp3", "aac", "loas", "ac3", "eac3", "ac4", "dts", "dtshd",
    "truehd", "mlp", "ape", "wv", "tta", "tak", "mpc", "mpc8", "dsf", "iff", "amr", "voc",
    # Images, one by one
    "gif", "apng", "png_pipe", "jpeg_pipe", "jpegls_pipe", "j2k_pipe", "bmp_pipe", "tiff_pipe", "webp_pipe", "exr_pipe",
    "dpx_pipe", "hdr_pipe", "sgi_pipe", "qoi_pipe", "psd_pipe", "pam_pipe", "pbm_pipe", "pgm_pipe", "ppm_pipe",
    "pfm_pipe", "sunrast_pipe",
)  # fmt: skip
"""FFmpeg's names of the formats that are read."""
SOUND_FILE_STARTS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"riff", b"caff", b".snd", b"ID3")
"""First bytes of the sound files that libsndfile may read. It takes other files for raw sound by their names, and opens
a second file beside some of them."""
_HEAD_BYTES = 4096
_REFERENCE_FILES: tuple[tuple[str, str], ...] = (
    (r"#EXTM3U", "a playlist (HLS)"),
    (r"ffconcat", "a playlist (FFmpeg concat)"),
    (r"file\s+\S", "a playlist (FFmpeg concat)"),
    (r"v=0\s*[\r\n]+[a-z]=", "a description of a stream (SDP)"),
    (r"rtsp(text)?:?//|rtsptext", "a link to a stream (RTSP)"),
    (r"\[playlist\]", "a playlist (PLS)"),
    (r"\[reference\]", "a playlist (ASX)"),
    (r"# VobSub index file", "an index of subtitles (VobSub)"),
    (r"(<[?!][^>]*>\s*)*<(\w+:)?MPD\b", "a playlist (MPEG-DASH)"),
    (r"(<[?!][^>]*>\s*)*<(\w+:)?(CompositionPlaylist|AssetMap|PackingList)\b", "a playlist (IMF)"),
    (r"(<[?!][^>]*>\s*)*<(\w+:)?SmoothStreamingMedia\b", "a playlist (Smooth Streaming)"),
    (r"(<[?!][^>]*>\s*)*<asx\b", "a playlist (ASX)"),
    (r"(<[?!][^>]*>\s*)*<playlist\b", "a playlist (XSPF)"),
    (r"(<[?!][^>]*>\s*)*<smil\b", "a playlist (SMIL)"),
    (r"(<[?!][^>]*>\s*)*<svg\b", "a drawing (SVG)"),
)
"""How files that name other files begin, and what they are."""
_REFERENCE_FORMATS = {
    "hls": "a playlist (HLS)",
    "concat": "a playlist (FFmpeg concat)",
    "dash": "a playlist (MPEG-DASH)",
    "imf": "a playlist (IMF)",
    "sdp": "a description of a stream (SDP)",
    "rtsp": "a link to a stream (RTSP)",
    "image2": "a sequence of images",
    "vobsub": "an index of subtitles (VobSub)",
    "svg_pipe": "a drawing (SVG)",
    "mlv": "a video in several files (Magic Lantern)",
}
_REFUSED_BY_NAME = "Format not on whitelist"
_PICTURE_TOO_LARGE = re.compile(r"(?:Picture size|picture size) (\d+)x(\d+)")
_HEIF_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC", b"mif1": "HEIF", b"avif": "AVIF"}
_BOX_HEADER_BYTES = 8
_BOXES_TO_REFERENCES = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
_MAX_BOXES = 10_000
"""Boxes that are visited in the search for references; files have far fewer."""
_MAX_REFERENCES_BYTES = 1 << 20


def check_names_no_other_file(path: Path) -> None:
    """Refuse a playlist or another file that names other files, before FFmpeg opens it.

    Raises:
        MediaError: The file names other files.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        text = head.decode("utf-8-sig", "replace").lstrip()
        for start, kind in _REFERENCE_FILES:
            if re.match(start, text, re.IGNORECASE):
                raise _reference_error(path, kind)
        if head[4:8].isalnum() and _has_external_track(file):
            raise _reference_error(path, "a reference movie (QuickTime)")


def check_is_no_heif_picture(path: Path) -> None:
    """Refuse a picture in a HEIF file, whose tiles FFmpeg would read as a video of one second.

    Raises:
        MediaError: It is such a picture.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
    title = _HEIF_BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    if title is not None:
        raise MediaError(
            f"{path.name} is a picture in the format {title}, which is not supported.", "Export it as JPEG or PNG."
        )


def _reference_error(path: Path, kind: str) -> MediaError:
    return MediaError(f"{path.name} is {kind}, which refers to other files.", "Choose the video file itself.")


def format_error(path: Path, format_name: str) -> MediaError:
    """Return the error for a file in a format that is not read. format_name: FFmpeg's."""
    if format_name in _REFERENCE_FORMATS:
        return _reference_error(path, _REFERENCE_FORMATS[format_name])
    try:
        title = av.ContainerFormat(format_name, "r").long_name
    except ValueError:
        title = format_name
    return MediaError(
        f"{path.name} is in the format {title}, which is not supported.",
        "Export it as MP4 or MOV, or as WAV for sound.",
    )


def is_still_format(names: str) -> bool:
    """Whether a file in this format is a single picture. names: FFmpeg's names of the format."""
    return names.endswith("_pipe") and names in CONTAINERS


def refused_format(messages: list[str], names: list[str]) -> str | None:
    """FFmpeg's name of a format that is not on the whitelist, from its log; None if that was not the reason."""
    for message, name in zip(messages, names, strict=True):
        if message.startswith(_REFUSED_BY_NAME):
            return name
    return None


def _has_external_track(file: BinaryIO) -> bool:
    """Whether a track of an MP4 or QuickTime file lies in another file."""
    return any(_names_file(*entry) for entry in _reference_entries(file))


def _names_file(kind: bytes, flags: int, content: bytes) -> bool:
    # The first flag says that the track lies in this file. Some programs leave it out, and name no file either.
    return not flags & 1 and kind in (b"alis", b"cios", b"rsrc", b"url ", b"urn ") and bool(content.strip(b"\0"))


def _reference_entries(file: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    """Kind, flags and content of each data reference of a file."""
    file.seek(0, 2)
    budget = iter(range(_MAX_BOXES))
    for begin, end in boxes_at(file, 0, file.tell(), _BOXES_TO_REFERENCES, budget):
        file.seek(begin + 8)  # version, flags and number of entries
        content = file.read(min(end - begin - 8, _MAX_REFERENCES_BYTES))
        place = 0
        while place + 12 <= len(content):
            size = int.from_bytes(content[place : place + 4], "big")
            if size < 12:
                return
            flags = int.from_bytes(content[place + 9 : place + 12], "big")
            yield content[place + 4 : place + 8], flags, content[place + 12 : place + size]
            place += size


def boxes_at(
    file: BinaryIO, begin: int, end: int, names: tuple[bytes, ...], budget: Iterator[int]
) -> Iterator[tuple[int, int]]:
    """Positions in an MP4 or QuickTime file of the contents of all boxes at a path of names.

    budget: has an item for each box that may be visited.
    """
    if not names:
        yield begin, end
        return
    place = begin
    while place + _BOX_HEADER_BYTES <= end and next(budget, None) is not None:
        file.seek(place)
        head = file.read(16)
        size, header_bytes = int.from_bytes(head[:4], "big"), _BOX_HEADER_BYTES
        if size == 1:
            size, header_bytes = int.from_bytes(head[8:], "big"), 16
        elif size == 0:  # the rest of the file
            size = end - place
        if size < header_bytes:
            return
        if head[4:8] == names[0]:
            yield from boxes_at(file, place + header_bytes, min(end, place + size), names[1:], budget)
        place += size


def picture_size_in(messages: list[str]) -> tuple[int, int] | None:
    """Size of the frames that FFmpeg refused, in pixels, from its log."""
    for message in messages:
        found = _PICTURE_TOO_LARGE.match(message)
        if found:
            return int(found[1]), int(found[2])
    return None


def log_of(work: Callable[[], object]) -> tuple[list[str], list[str]]:
    """Run work that fails in FFmpeg, and return the messages that it logs and the names of their senders.

    FFmpeg's log tells more than its errors. It is off otherwise, because it costs time in each thread of a decoder.
    """
    level, skips_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as entries, contextlib.suppress(av.FFmpegError, OSError, ValueError):
            work()
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips_repeated)
    return [text.strip() for _, _, text in entries], [name for _, name, _ in entries]
