"""Media is read from one file alone: playlists and other files that name files are refused before those are opened."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_clips import noise, read_numbers, write_numbered_clip, write_sound

from rewas_engine import MediaError
from rewas_engine.media.audio import probe_sound, read_audio, read_audio_file
from rewas_engine.media.formats import CONTAINERS
from rewas_engine.media.video import has_video, probe_video, read_frames

_IN_OPEN = 0x20


class OpenedFiles:
    """The files of a folder that any process opens, as the kernel reports them."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._queue = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._queue >= 0
        assert self._libc.inotify_add_watch(self._queue, os.fsencode(folder), _IN_OPEN) >= 0

    def names(self) -> set[str]:
        """The files that were opened since the last call."""
        found = set()
        with contextlib.suppress(BlockingIOError):
            events = os.read(self._queue, 1 << 16)
            while events:
                length = struct.unpack_from("iIII", events)[3]
                found.add(events[16 : 16 + length].rstrip(b"\0").decode())
                events = events[16 + length :]
        return found - {""}

    def close(self) -> None:
        os.close(self._queue)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of media that no file of the tests may make FFmpeg open."""
    folder = tmp_path_factory.mktemp("outside")
    write_numbered_clip(folder / "secret.ts", frames=50)
    write_numbered_clip(folder / "secret.mov", frames=50)
    for number in range(3):
        _write_image(folder / f"frame{number}.png")
    return folder


@pytest.fixture
def opened(outside: Path) -> Iterator[OpenedFiles]:
    if sys.platform != "linux":
        pytest.skip("the kernel's notices of opened files are Linux's")
    files = OpenedFiles(outside)
    yield files
    files.close()


def _write_image(path: Path) -> Path:
    image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path


def _hls(target: Path) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"


def _endless_hls(target: Path) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target.parent / 'missing.ts'}\n"


def _concat(target: Path) -> str:
    return f"ffconcat version 1.0\nfile '{target}'\n"


def _plain_concat(target: Path) -> str:
    return f"file '{target}'\nduration 2\n"


def _dash(target: Path) -> str:
    return (
        '<?xml version="1.0"?>\n<!-- made by hand -->\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f'<Period><AdaptationSet><Representation id="1"><BaseURL>{target.as_uri()}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )


def _imf(target: Path) -> str:
    return (
        '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><Id>'
        f"{target.as_uri()}</Id></CompositionPlaylist>"
    )


def _sdp(target: Path) -> str:
    return "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n"


def _rtsp(target: Path) -> str:
    return "RTSPtextRTSP://127.0.0.1:9/secret.mov"


def _pls(target: Path) -> str:
    return f"[playlist]\nFile1={target}\nNumberOfEntries=1\n"


def _xspf(target: Path) -> str:
    return (
        f'<playlist version="1" xmlns="http://xspf.org/ns/0/"><track><location>{target}</location></track></playlist>'
    )


def _asx(target: Path) -> str:
    return f'<ASX version="3.0"><Entry><Ref href="{target.as_uri()}"/></Entry></ASX>'


def _vobsub(target: Path) -> str:
    return "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\n"


def _svg(target: Path) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{target.as_uri()}"/></svg>'


REFERENCES: dict[str, tuple[str, Callable[[Path], str], str]] = {
    "HLS": ("clip.m3u8", _hls, "a playlist (HLS)"),
    "HLS, still recording": ("clip.m3u8", _endless_hls, "a playlist (HLS)"),
    "HLS, named as a video": ("clip.mp4", _hls, "a playlist (HLS)"),
    "HLS, after a byte order mark": ("clip.m3u", lambda target: "\ufeff" + _hls(target), "a playlist (HLS)"),
    "concat": ("clip.ffconcat", _concat, "a playlist (FFmpeg concat)"),
    "concat, named as a video": ("clip.mov", _concat, "a playlist (FFmpeg concat)"),
    "concat, without a first line": ("clip.txt", _plain_concat, "a playlist (FFmpeg concat)"),
    "DASH": ("clip.mpd", _dash, "a playlist (MPEG-DASH)"),
    "IMF": ("clip.xml", _imf, "a playlist (IMF)"),
    "SDP": ("clip.sdp", _sdp, "a description of a stream (SDP)"),
    "RTSP": ("clip.mov", _rtsp, "a link to a stream (RTSP)"),
    "PLS": ("clip.pls", _pls, "a playlist (PLS)"),
    "XSPF": ("clip.xspf", _xspf, "a playlist (XSPF)"),
    "ASX": ("clip.asx", _asx, "a playlist (ASX)"),
    "VobSub": ("clip.idx", _vobsub, "an index of subtitles (VobSub)"),
    "SVG": ("clip.svg", _svg, "a drawing (SVG)"),
}


def _reading(path: Path) -> list[Callable[[], object]]:
    return [
        lambda: probe_video(path),
        lambda: has_video(path),
        lambda: probe_sound(path),
        lambda: read_frames(
            path, start_s=Fraction(0), duration_s=Fraction(1), frame_rate=Fraction(25), width=96, height=64
        ),
        lambda: read_audio(path, start_s=Fraction(0), duration_s=Fraction(1), sample_rate_hz=16_000),
    ]


@pytest.mark.parametrize("case", REFERENCES)
def test_a_file_that_names_others_is_refused_by_name(
    case: str, outside: Path, opened: OpenedFiles, tmp_path: Path
) -> None:
    name, write, kind = REFERENCES[case]
    path = tmp_path / name
    path.write_text(write(outside / "secret.ts"), encoding="utf-8")
    for read in _reading(path):
        with pytest.raises(MediaError) as refusal:
            read()
        assert refusal.value.what == f"{name} is {kind}, which refers to other files."
        assert refusal.value.remedy == "Choose the video file itself."
    assert opened.names() == set()


def test_the_kernel_tells_when_a_playlist_opens_its_target(outside: Path, opened: OpenedFiles, tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    path = tmp_path / "clip.m3u8"
    path.write_text(_hls(outside / "secret.ts"), encoding="utf-8")
    with av.open(str(path)) as container:
        assert container.format.name == "hls"
    assert opened.names() == {"secret.ts"}


@pytest.mark.parametrize("begin", ["\n\n", "x" * 5000 + "\n"])
def test_a_playlist_that_is_not_recognised_by_its_beginning_opens_nothing(
    begin: str, outside: Path, opened: OpenedFiles, tmp_path: Path
) -> None:
    path = tmp_path / "clip.m3u8"
    path.write_text(begin + _hls(outside / "secret.ts"), encoding="utf-8")
    with pytest.raises(MediaError, match=r"clip\.m3u8"):
        probe_video(path)
    assert opened.names() == set()


def _alias(target: Path) -> bytes:
    """A QuickTime alias record that names a file, as in FFmpeg's reader."""
    folder = str(target.parent).encode()
    name = target.name.encode()
    record = bytes(10) + bytes([6]) + b"Volume".ljust(27, b"\0") + bytes(12)
    record += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    record += struct.pack(">HH", 0, 0) + bytes(16)
    whole = folder + b"/" + name
    for kind, text in ((2, whole), (18, whole)):
        record += struct.pack(">HH", kind, len(text)) + text + (b"\0" if len(text) % 2 else b"")
    return record + struct.pack(">HH", 0xFFFF, 0)


def _url(target: Path) -> bytes:
    return target.as_uri().encode() + b"\0"


def _refer(path: Path, kind: bytes, content: bytes) -> None:
    """Make the first track of a QuickTime file lie in another file."""
    data = path.read_bytes()
    entry = struct.pack(">I", 12 + len(content)) + kind + bytes(4) + content
    place = data.index(b"dref") - 4
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = data.index(name, data.index(b"moov")) - 4
        size = int.from_bytes(data[start : start + 4], "big") + len(entry) - 12
        data = data[:start] + struct.pack(">I", size) + data[start + 4 :]
    old = place + 16
    assert data[old + 4 : old + 8] in (b"url ", b"alis")
    path.write_bytes(data[:old] + entry + data[old + int.from_bytes(data[old : old + 4], "big") :])


@pytest.mark.parametrize("kind", [b"alis", b"url "])
@pytest.mark.parametrize("extension", ["mov", "mp4"])
def test_a_reference_movie_is_refused(
    kind: bytes, extension: str, outside: Path, opened: OpenedFiles, tmp_path: Path
) -> None:
    path = write_numbered_clip(tmp_path / f"clip.{extension}", frames=50)
    _refer(path, kind, (_alias if kind == b"alis" else _url)(outside / "secret.mov"))
    for read in _reading(path):
        with pytest.raises(MediaError, match="is a reference movie \\(QuickTime\\), which refers to other files"):
            read()
    assert opened.names() == set()


def test_the_alias_of_the_tests_is_one_that_ffmpeg_follows_when_told_to(
    outside: Path, opened: OpenedFiles, tmp_path: Path
) -> None:
    path = write_numbered_clip(tmp_path / "clip.mov", frames=50)
    _refer(path, b"alis", _alias(outside / "secret.mov"))
    with av.open(str(path), container_options={"enable_drefs": "1", "use_absolute_path": "1"}):
        pass
    assert opened.names() == {"secret.mov"}


@pytest.mark.parametrize("name", ["frame%d.png", "frame%03d.png"])
def test_a_name_with_a_number_sign_is_the_name_of_one_image(
    name: str, outside: Path, opened: OpenedFiles, tmp_path: Path
) -> None:
    pattern = outside / name
    with pytest.raises(MediaError, match="does not exist"):
        probe_video(pattern)
    _write_image(tmp_path / "frame0.png")
    (tmp_path / name).write_bytes((tmp_path / "frame0.png").read_bytes())
    with pytest.raises(MediaError, match="is a sequence of images, which refers to other files"):
        probe_video(tmp_path / name)
    assert opened.names() == set()


@pytest.mark.parametrize("name", ["concat:a|b.mp4", "http:x.mp4", "a:b?c#d.mp4", "subfile,,start,0,end,9,,:x.mp4"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no colon in names")
def test_a_colon_in_a_file_name_is_no_protocol(name: str, tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / "clip.mp4", frames=25).rename(tmp_path / name)
    assert probe_video(path).duration_s == 1


def test_a_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello world\n" * 50, encoding="utf-8")
    with pytest.raises(MediaError, match=r"^notes\.txt is in the format Tele-typewriter, which is not supported\."):
        probe_video(path)
    subtitles = tmp_path / "clip.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n\n", encoding="utf-8")
    with pytest.raises(MediaError, match="SubRip subtitle, which is not supported"):
        probe_video(subtitles)


@pytest.mark.parametrize(("brand", "title"), [(b"heic", "HEIC"), (b"mif1", "HEIF"), (b"avif", "AVIF")])
def test_a_heif_picture_is_refused_by_name(brand: bytes, title: str, tmp_path: Path) -> None:
    file = tmp_path / "photo.heic"
    file.write_bytes(struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, b"mif1") + bytes(200))
    with pytest.raises(MediaError, match=rf"photo\.heic is a picture in the format {title}, which is not supported"):
        probe_video(file)


def test_all_formats_that_are_read_are_formats_of_ffmpeg() -> None:
    assert set(CONTAINERS) <= av.formats_available
    assert len(set(CONTAINERS)) == len(CONTAINERS)


VIDEO_FILES = {
    "mp4": "libx264", "mov": "prores_ks", "mkv": "libx264", "webm": "libvpx-vp9", "avi": "mpeg4", "ts": "mpeg2video",
    "mpg": "mpeg2video", "mxf": "mpeg2video", "flv": "flv", "nut": "ffv1", "y4m": "wrapped_avframe", "ivf": "libvpx",
    "wmv": "wmv2", "gif": "gif", "apng": "apng", "m2v": "mpeg2video", "3gp": "mpeg4",
    "ogv": "libvpx",
}  # fmt: skip
SOUND_FILES = {
    "wav": "pcm_s24le", "w64": "pcm_s16le", "aiff": "pcm_s16be", "caf": "pcm_s16le", "au": "pcm_s16be", "flac": "flac",
    "mp3": "libmp3lame", "m4a": "aac", "ogg": "libopus", "aac": "aac", "ac3": "ac3", "wv": "wavpack", "tta": "tta",
    "mka": "flac",
}  # fmt: skip


@pytest.mark.parametrize("extension", VIDEO_FILES)
def test_the_formats_of_editors_are_read(extension: str, tmp_path: Path) -> None:
    codec = VIDEO_FILES[extension]
    with av.open(str(tmp_path / f"clip.{extension}"), "w") as container:
        stream = container.add_stream(codec, rate=25)
        formats = stream.codec.video_formats or []
        names = [each.name for each in formats] or ["yuv420p"]
        stream.width, stream.height = 96, 64
        stream.pix_fmt = next((name for name in ("yuv420p", "yuv422p10le") if name in names), names[0])
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96), 20 * number + 10, np.uint8), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    path = tmp_path / f"clip.{extension}"
    assert (probe_video(path).width, probe_video(path).height) == (96, 64)
    shown = read_frames(
        path, start_s=Fraction(0), duration_s=Fraction(2, 5), frame_rate=Fraction(25), width=48, height=32
    )
    assert (np.diff(shown.mean(axis=(1, 2))) > 5).all()


@pytest.mark.parametrize("extension", SOUND_FILES)
def test_the_sound_formats_of_editors_are_read(extension: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / f"sound.{extension}", noise(48_000), 48_000, SOUND_FILES[extension])
    assert abs(probe_sound(path).duration_s - 1) < Fraction(1, 10)
    read = read_audio(path, start_s=Fraction(0), duration_s=Fraction(1), sample_rate_hz=48_000)
    assert np.sqrt((read**2).mean()) > 0.1


def test_an_image_is_read_as_a_clip_of_one_frame(tmp_path: Path) -> None:
    properties = probe_video(_write_image(tmp_path / "still.png"))
    assert (properties.width, properties.height, properties.duration_s) == (64, 48, Fraction(1, 25))


@pytest.mark.parametrize("container", ["wav", "avi"])
def test_a_codec_that_is_not_known_is_refused(container: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip.{container}"
    if container == "wav":
        data = bytearray(write_sound(path, noise(16_000), 16_000).read_bytes())
        data[20:22] = b"\x01\x07"  # the number of the codec
    else:
        data = bytearray(write_numbered_clip(path, frames=25, codec="mpeg4").read_bytes())
        data = data.replace(b"FMP4", b"ABCD")
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"clip\.(wav|avi)"):
        (probe_sound if container == "wav" else probe_video)(path)


def test_a_text_is_no_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "sound.sd2"
    path.write_bytes(bytes(64))
    with pytest.raises(MediaError, match=r"The sound sound\.sd2 is in a format that is not supported\."):
        read_audio_file(path)


def test_numbers_are_the_same_as_before(tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / "clip.mp4", frames=30)
    shown = read_frames(
        path, start_s=Fraction(1, 5), duration_s=Fraction(1), frame_rate=Fraction(25), width=96, height=64
    )
    assert read_numbers(shown) == list(range(5, 30))
