"""Decoding in a process with limits: the same results, and no crash, hang or shortage of memory reaches the caller."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numbered_clips import noise, write_numbered_clip, write_sound

from rewas_engine import Cancelled, MediaError, VideoClip, find_cuts
from rewas_engine.media.audio import (
    AudioTrack,
    count_audio_tracks,
    probe_sound,
    read_audio,
    read_audio_file,
    read_audio_track,
)
from rewas_engine.media.isolation import seam
from rewas_engine.media.isolation.messages import (
    BrokenMessage,
    Kind,
    from_json,
    read_message,
    to_json,
    write_message,
)
from rewas_engine.media.isolation.pool import DecoderPool, isolated_decoding
from rewas_engine.media.isolation.process_limits import landlock_version
from rewas_engine.media.limits import DecodingLimits
from rewas_engine.media.video import VideoProperties, find_break_s, has_video, iter_frames, probe_video, read_frames

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
SECOND = Fraction(1)


@pytest.fixture(scope="module")
def kept_pool() -> Iterator[DecoderPool]:
    with isolated_decoding() as pool:
        seam.set_decoder(None)
        yield pool


@pytest.fixture
def pool(kept_pool: DecoderPool) -> Iterator[DecoderPool]:
    seam.set_decoder(kept_pool)
    yield kept_pool
    seam.set_decoder(None)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 8 s, with sound."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    return write_numbered_clip(path, frames=200, sound=noise(8 * 16_000))


def outcome(read: Callable[[], Any], decoder: DecoderPool | None) -> Any:
    """What reading returns or raises, in a decoder or in this process."""
    seam.set_decoder(decoder)
    try:
        return read()
    except MediaError as error:
        return str(error)
    finally:
        seam.set_decoder(None)


def assert_same(read: Callable[[], Any], pool: DecoderPool) -> None:
    there, here = outcome(read, pool), outcome(read, None)
    assert type(there) is type(here)
    if isinstance(here, tuple):
        assert len(there) == len(here)
        for one, other in zip(there, here, strict=True):
            assert np.array_equal(one, other)
    elif isinstance(here, np.ndarray):
        assert there.dtype == here.dtype
        assert there.shape == here.shape
        assert there.tobytes() == here.tobytes()
    else:
        assert there == here


VIDEOS: dict[str, dict[str, Any]] = {
    "B-frames.mp4": {},
    "late.mkv": {"first_s": Fraction(15, 2)},
    "late.ts": {"first_s": Fraction(3601)},
    "uneven.mkv": {"times_s": [Fraction(n * n, 300) for n in range(50)]},
    "slow.mp4": {"rate": 8},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "vp9.webm": {"codec": "libvpx-vp9", "sound": None},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "pq.mp4": {"codec": "libx264", "pixel_format": "yuv420p10le", "encoder": {"color_trc": "smpte2084"}},
}


@pytest.mark.parametrize("name", VIDEOS)
def test_pictures_are_the_same_to_the_bit(name: str, kept_pool: DecoderPool, tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / name, **{"frames": 50, "sound": noise(2 * 16_000), **VIDEOS[name]})
    for options in ({}, {"rgb": True}, {"rgb": True, "short_side": 40}):
        assert_same(
            lambda options=options: read_frames(
                path,
                start_s=Fraction(1, 3),
                duration_s=Fraction(6, 5),
                frame_rate=Fraction(24_000, 1001),
                width=48,
                height=36,
                **options,
            ),
            kept_pool,
        )
    for read in (probe_video, has_video, find_break_s, probe_sound, count_audio_tracks):
        assert_same(lambda read=read: read(path), kept_pool)


def test_cuts_are_the_same(kept_pool: DecoderPool, clip: Path) -> None:
    assert_same(lambda: find_cuts(VideoClip(clip, start=1, duration=2)), kept_pool)


def stereo(path: Path, right: float, subtype: str = "FLOAT") -> Path:
    left = noise(48_000)
    soundfile.write(path, np.stack([left, right * left]).T, 16_000, subtype=subtype)
    return path


SOUNDS: dict[str, Callable[[Path], Path]] = {
    "mono.wav": lambda path: write_sound(path, noise(48_000), 16_000),
    "lossy.mp3": lambda path: write_sound(path, noise(48_000), 44_100, "libmp3lame"),
    "lossy.m4a": lambda path: write_sound(path, noise(48_000), 48_000, "aac"),
    "stereo.wav": lambda path: stereo(path, 0.5),
    "opposite.wav": lambda path: stereo(path, -0.999),
    "stereo.flac": lambda path: stereo(path, 0.2, "PCM_24"),
    "track.mkv": lambda path: write_numbered_clip(path, frames=50, sound=noise(2 * 16_000)),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_are_the_same_to_the_bit(name: str, kept_pool: DecoderPool, tmp_path: Path) -> None:
    path = SOUNDS[name](tmp_path / name)
    times = {"start_s": Fraction(1, 7), "duration_s": Fraction(9, 5), "sample_rate_hz": 24_000}
    assert_same(lambda: read_audio(path, **times), kept_pool)
    assert_same(lambda: read_audio(path, **times, origin_s=Fraction(-1, 2), track=1), kept_pool)
    assert_same(lambda: read_audio(path, **times, track=2), kept_pool)
    assert_same(lambda: probe_sound(path), kept_pool)
    assert_same(lambda: read_audio_file(path), kept_pool)
    seam.set_decoder(kept_pool)
    assert read_audio_track(path, **times)[1] == AudioTrack(1, 1)
    seam.set_decoder(None)


def test_refusals_are_the_same(kept_pool: DecoderPool, clip: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.mkv"
    truncated.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    text = tmp_path / "text.mp4"
    text.write_text("hello", encoding="utf-8")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\nclip.ts\n", encoding="utf-8")
    for path in (tmp_path / "missing.mp4", truncated, text, playlist):
        for read in (probe_video, probe_sound, has_video, read_audio_file):
            assert_same(lambda read=read, path=path: read(path), kept_pool)
        assert_same(
            lambda path=path: read_frames(
                path, start_s=Fraction(7), duration_s=SECOND, frame_rate=Fraction(25), width=8, height=8
            ),
            kept_pool,
        )


def test_a_file_name_may_have_any_characters(pool: DecoderPool, clip: Path, tmp_path: Path) -> None:
    name = 'über "quoted" {path}.mkv' if sys.platform == "win32" else os.fsdecode(b'\xff "{path}" \xc3\xbc\n.mkv')
    path = tmp_path / name
    path.write_bytes(clip.read_bytes())
    assert probe_video(path).width == 96


def frames_of(path: Path, cancel: threading.Event | None = None, size: int = 32) -> Iterator[np.ndarray]:
    return iter_frames(
        path,
        start_s=Fraction(0),
        duration_s=Fraction(8),
        frame_rate=Fraction(25),
        width=size,
        height=size,
        rgb=True,
        cancel=cancel,
    )


def running_decoder(pool: DecoderPool) -> Any:
    """The only decoder that works on a call."""
    (decoder,) = pool._in_use
    return decoder


def has_ended(pid: int) -> bool:
    """Whether a child process of this process has ended and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@posix_only
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_an_error_about_the_file(number: signal.Signals, pool: DecoderPool, clip: Path) -> None:
    frames = frames_of(clip, size=512)
    next(frames)
    os.kill(running_decoder(pool).pid, number)
    with pytest.raises(MediaError, match=rf"clip\.mkv could not be decoded within the .* ended with {number.name}\."):
        list(frames)
    assert probe_video(clip).width == 96


@posix_only
def test_a_hung_decoder_is_killed(clip: Path) -> None:
    with isolated_decoding(DecodingLimits(stall_s=0.5)) as pool:
        frames = frames_of(clip, size=512)
        next(frames)
        pid = running_decoder(pool).pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(MediaError, match=r"within the limits on memory and time\. It took longer than"):
            list(frames)
        assert has_ended(pid)


def test_a_call_has_a_limited_time_even_if_the_decoder_is_active(clip: Path) -> None:
    with (
        isolated_decoding(DecodingLimits(call_s=0.0, call_s_per_media_s=0.0)),
        pytest.raises(MediaError, match="It took longer than 0 s"),
    ):
        list(frames_of(clip))


@posix_only
def test_cancelling_ends_a_decoder_at_once_even_if_it_hangs(pool: DecoderPool, clip: Path) -> None:
    cancel = threading.Event()
    frames = frames_of(clip, cancel, size=512)
    next(frames)
    pid = running_decoder(pool).pid
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(Cancelled):
        list(frames)
    assert has_ended(pid)


@posix_only
def test_a_call_that_takes_no_signal_can_be_cancelled_too(pool: DecoderPool, clip: Path) -> None:
    probe_video(clip)
    for future in pool._idle:
        os.kill(future.result().pid, signal.SIGSTOP)
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    with seam.cancels_decoding(cancel), pytest.raises(Cancelled):
        probe_video(clip)
    for future in pool._idle:
        os.kill(future.result().pid, signal.SIGCONT)


@linux_only
@pytest.mark.parametrize("name", ["clip.gif", "clip.wav"])
def test_a_file_that_needs_too_much_memory_is_refused(name: str, tmp_path: Path) -> None:
    frame = b"!\xf9\x04\0\x01\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0"
    gif = tmp_path / "clip.gif"
    gif.write_bytes(b"GIF89a" + struct.pack("<HH", 9_900, 9_900) + b"\x80\0\0\0\0\0\xff\xff\xff" + frame * 20 + b";")
    sound = write_sound(tmp_path / "clip.wav", noise(16_000), 16_000)

    def read() -> object:
        if name == "clip.gif":
            return probe_video(gif)
        return read_audio(sound, start_s=Fraction(0), duration_s=Fraction(3600), sample_rate_hz=192_000)

    with isolated_decoding(DecodingLimits(memory_bytes=450 * 2**20)):
        with pytest.raises(MediaError, match=rf"{name} c.* be decoded"):
            read()
        assert probe_sound(sound).duration_s == 1


def test_a_decoder_pauses_while_the_caller_takes_no_frames(pool: DecoderPool, clip: Path) -> None:
    size = 512
    frames = frames_of(clip, size=size)
    for _ in range(3):
        next(frames)
    decoder = running_decoder(pool)
    assert decoder.messages.maxsize == 4
    if sys.platform == "linux":
        counters = Path(f"/proc/{decoder.pid}/io").read_text(encoding="ascii")
        written = int(counters.split("wchar: ")[1].split()[0])
        assert written < 12 * size * size * 3
    assert len(list(frames)) == 197


def test_abandoned_frames_leave_a_pool_that_works(pool: DecoderPool, clip: Path) -> None:
    for _ in range(2):
        frames = frames_of(clip, size=256)
        next(frames)
        frames.close()
        assert not pool._in_use
        assert probe_video(clip).width == 96


def test_frames_and_sound_can_be_read_in_turn(pool: DecoderPool, clip: Path) -> None:
    frames = frames_of(clip)
    next(frames)
    assert read_audio(clip, start_s=Fraction(0), duration_s=SECOND, sample_rate_hz=16_000).size == 16_000
    assert len(list(frames)) == 199
    assert len(pool._idle) == 2


@posix_only
def test_a_decoder_that_was_killed_between_calls_is_replaced(pool: DecoderPool, clip: Path) -> None:
    probe_video(clip)
    for future in pool._idle:
        os.kill(future.result().pid, signal.SIGKILL)
        future.result()._process.wait()
    assert probe_video(clip).width == 96


@linux_only
def test_a_decoder_that_cannot_start_is_no_fault_of_the_file(clip: Path) -> None:
    with (
        isolated_decoding(DecodingLimits(memory_bytes=2**20)),
        pytest.raises(MediaError, match="The decoder did not start"),
    ):
        probe_video(clip)


@posix_only
def test_all_decoders_end_with_the_pool(clip: Path) -> None:
    with isolated_decoding() as pool:
        frames = frames_of(clip, size=512)
        next(frames)
        probe_video(clip)
        pids = [running_decoder(pool).pid, *(future.result().pid for future in pool._idle)]
    assert len(pids) >= 2
    assert all(has_ended(pid) for pid in pids)
    with pytest.raises(MediaError):
        list(frames)


@linux_only
@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_decoder_never_outlives_its_parent(is_stopped: bool, clip: Path) -> None:
    code = """if True:
        import sys
        from fractions import Fraction
        from pathlib import Path
        from rewas_engine.media.isolation.pool import isolated_decoding
        from rewas_engine.media.video import iter_frames
        with isolated_decoding() as pool:
            frames = iter_frames(Path(sys.argv[1]), start_s=Fraction(0), duration_s=Fraction(8),
                                 frame_rate=Fraction(25), width=512, height=512)
            next(frames)
            print(next(iter(pool._in_use)).pid, flush=True)
            sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(clip)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        handle = os.pidfd_open(pid)
        if is_stopped:
            os.kill(pid, signal.SIGSTOP)
        parent.kill()
    import select

    poller = select.poll()
    poller.register(handle, select.POLLIN)
    assert poller.poll(20_000)
    os.close(handle)


@linux_only
def test_a_limited_process_writes_nothing_and_opens_few_files(tmp_path: Path) -> None:
    code = """if True:
        import os, sys
        from pathlib import Path
        from rewas_engine.media.isolation.process_limits import limit_this_process
        from rewas_engine.media.limits import DecodingLimits
        opened = open(Path(sys.argv[1], "opened before"), "wb", buffering=0)
        limit_this_process(DecodingLimits(open_files=20, memory_bytes=2**30), os.getppid())
        for attempt in (
            lambda: opened.write(b"x"),
            lambda: [open("/dev/zero", "rb") for _ in range(40)],
            lambda: bytearray(2**31),
        ):
            try:
                attempt()
                print("done")
            except (OSError, MemoryError) as error:
                print(type(error).__name__)
        print("NoNewPrivs:\\t1" in Path("/proc/self/status").read_text())
        print(Path("/proc/self/oom_score_adj").read_text())
    """
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == ["OSError", "OSError", "MemoryError", "True", "1000"]
    assert (tmp_path / "opened before").read_bytes() == b""


@linux_only
@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
def test_a_limited_process_changes_no_file_and_reaches_no_process(tmp_path: Path) -> None:
    code = """if True:
        import os, signal, socket, subprocess, sys
        from pathlib import Path
        from rewas_engine.media.isolation.process_limits import limit_this_process, landlock_version
        from rewas_engine.media.limits import DecodingLimits
        folder, other, port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
        limit_this_process(DecodingLimits(), os.getppid())
        attempts = [
            (1, lambda: (folder / "kept").unlink()),
            (1, lambda: (folder / "kept").rename(folder / "moved")),
            (1, lambda: (folder / "empty").touch()),
            (1, lambda: (folder / "folder").mkdir()),
            (1, lambda: os.execv("/bin/true", ["/bin/true"])),
            (3, lambda: os.truncate(folder / "kept", 0)),
            (4, lambda: socket.create_connection(("127.0.0.1", port))),
            (6, lambda: os.kill(other, signal.SIGTERM)),
        ]
        for since, attempt in attempts:
            if landlock_version() >= since:
                try:
                    attempt()
                    print("done")
                except PermissionError:
                    print("refused")
        assert (folder / "kept").read_text() == "x"
    """
    (tmp_path / "kept").write_text("x", encoding="ascii")
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with other, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), str(other.pid), str(port)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert other.poll() is None
        assert set(done.stdout.split()) == {"refused"}
        assert len(done.stdout.split()) >= 5
        assert [each.name for each in tmp_path.iterdir()] == ["kept"]


class TestMessages:
    """A decoder that was taken over may send anything."""

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_message_or_are_refused(self, data: bytes) -> None:
        try:
            found = read_message(io.BufferedReader(io.BytesIO(data)), 1000)
        except BrokenMessage:
            return
        assert found is None or isinstance(found[0], Kind)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["array", "fraction", "tuple", "mapping", "record", "path", "x"]), inner
                )
            ),
            max_leaves=20,
        ),
        st.lists(st.binary(max_size=16), max_size=2),
    )
    def test_any_json_is_a_value_or_is_refused(self, plain: Any, arrays: list[bytes]) -> None:
        import contextlib
        import json

        with contextlib.suppress(BrokenMessage):
            from_json(json.dumps(plain).encode(), [bytearray(each) for each in arrays], seam.RECORDS)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.fractions(),
            lambda inner: st.tuples(inner) | st.tuples(inner, inner),
            max_leaves=10,
        )
    )
    def test_values_come_back_unchanged(self, value: Any) -> None:
        assert from_json(to_json(value)) == value

    def test_records_and_arrays_come_back_unchanged(self) -> None:
        properties = VideoProperties(Fraction(1, 3), Fraction(5), Fraction(24_000, 1001), 1920, 1080)
        arrays: list[np.ndarray] = []
        content = to_json((properties, noise(7), None), arrays)
        back = from_json(content, [bytearray(each.tobytes()) for each in arrays], seam.RECORDS)
        assert back[0] == properties
        assert np.array_equal(back[1], noise(7))

    def test_a_message_that_is_too_long_is_refused_before_memory_is_reserved(self) -> None:
        data = struct.pack("<cQ", Kind.FRAMES.value, 2**60)
        with pytest.raises(BrokenMessage, match=f"a message of {2**60} bytes"):
            read_message(io.BufferedReader(io.BytesIO(data)), 2**20)

    def test_messages_come_back_unchanged(self) -> None:
        file = io.BytesIO()
        write_message(file, Kind.RESULT, b"12345")
        data = file.getvalue()
        assert read_message(io.BufferedReader(io.BytesIO(data)), 5) == (Kind.RESULT, bytearray(b"12345"))
        assert read_message(io.BufferedReader(io.BytesIO(data[:-1])), 5) is None


def test_all_limits_reach_the_decoder(clip: Path) -> None:
    limits = dataclasses.replace(DecodingLimits(), pixels=1000)
    with isolated_decoding(limits), pytest.raises(MediaError, match="96 x 64 pixels; the limit is 1000 pixels"):
        probe_video(clip)
