"""Stem files: exact samples, correct provenance, safe names, and atomic writing."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from wavinfo import WavInfoReader

from rewas_engine.media.stem import Stem
from rewas_engine.requests.gains import apply_gains
from rewas_engine.runtime.atomic_files import write_bytes_atomic
from rewas_server.delivery.broadcast_wav import write_broadcast_wav
from rewas_server.delivery.file_names import safe_file_name
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stem_folder import StemFolder

PROVENANCE = Provenance("собака growling, naïvely", 7, "starter", "0.1.0", "Apache-2.0")
METADATA = BroadcastMetadata(PROVENANCE, 172_972_800)


def noise(channels: int, samples: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.4, 0.4, (channels, samples)).astype(np.float32)


def broadcast_wav(waveform: np.ndarray, sample_rate_hz: int, metadata: BroadcastMetadata) -> bytes:
    file = io.BytesIO()
    write_broadcast_wav(file, waveform, sample_rate_hz, metadata)
    return file.getvalue()


@pytest.mark.parametrize(("channels", "samples", "rate_hz"), [(1, 10010, 48000), (2, 4801, 96000), (1, 1, 16000)])
def test_the_file_has_exactly_the_samples(tmp_path: Path, channels: int, samples: int, rate_hz: int) -> None:
    waveform = noise(channels, samples)
    with StemFolder(tmp_path) as folder:
        written = folder.write(waveform, rate_hz, "growl", METADATA)
    info = soundfile.info(written.path)
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (rate_hz, channels, samples, "PCM_24")
    read, _ = soundfile.read(written.path, dtype="float32", always_2d=True)
    assert np.abs(read.T - waveform).max() <= 2**-22
    assert written.size_bytes == written.path.stat().st_size


def test_the_same_stem_gives_the_same_samples() -> None:
    first, second = (broadcast_wav(noise(1, 100), 48000, METADATA) for _ in range(2))
    assert first[-300:] == second[-300:]


def test_a_stem_with_high_peaks_is_lowered_and_the_file_states_this(tmp_path: Path) -> None:
    loud = noise(2, 4800) * 5
    with StemFolder(tmp_path) as folder:
        written = folder.write(loud, 48000, "loud", METADATA)
    samples, _ = soundfile.read(written.path, dtype="float32")
    # One gain for the whole stem.
    gain = np.abs(samples).max() / np.abs(loud).max()
    assert np.abs(samples.T - gain * loud).max() < 1e-6
    bext = WavInfoReader(str(written.path)).bext
    assert bext.coding_history.splitlines()[1].endswith(
        f"T=lowered by {-20 * np.log10(gain):.2f} dB to a true peak of -1 dBTP"
    )
    assert bext.max_true_peak <= -1


def test_the_peak_of_a_generated_stem_needs_no_second_limit(tmp_path: Path) -> None:
    stems = {role: Stem(role, noise(1, 9600) * 3, 48000) for role in ("primary", "ambience")}
    for role, stem in apply_gains(stems, {"primary": 6.0, "ambience": 0.0}).items():
        with StemFolder(tmp_path) as folder:
            written = folder.write(stem.waveform, 48000, role, METADATA)
        assert np.array_equal(soundfile.read(written.path, dtype="float32")[0], stem.waveform[0])


def test_non_finite_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        broadcast_wav(np.full((1, 10), np.nan, np.float32), 48000, METADATA)


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    with StemFolder(tmp_path) as folder:
        paths = [folder.write(noise(1, 10), 48000, "growl", METADATA).path for _ in range(3)]
    with StemFolder(tmp_path) as folder:
        paths.append(folder.write(noise(1, 10), 48000, "growl", METADATA).path)
    assert [path.name for path in paths] == ["growl.wav", "growl 2.wav", "growl 3.wav", "growl 4.wav"]


def test_a_failed_job_leaves_no_stem_and_keeps_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.wav").write_bytes(b"mine")
    with pytest.raises(RuntimeError), StemFolder(tmp_path) as folder:  # noqa: PT012
        folder.write(noise(1, 10), 48000, "mine", METADATA)
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["mine.wav"]
    assert (tmp_path / "mine.wav").read_bytes() == b"mine"


def test_a_folder_created_for_a_failed_job_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ValueError), StemFolder(tmp_path / "new") as folder:
        folder.write(np.full((1, 4), np.inf, np.float32), 48000, "growl", METADATA)
    assert not (tmp_path / "new").exists()


def test_a_file_is_written_completely_or_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "energy.png"
    write_bytes_atomic(path, b"one")
    with pytest.raises(TypeError):
        write_bytes_atomic(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("samples", [100, 100_000, 600_000])
def test_a_full_disk_is_reported_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], samples: int
) -> None:
    full_at_bytes = 800

    class FullDisk(io.FileIO):
        def write(self, content: Any) -> int:
            if self.tell() + len(content) > full_at_bytes:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    open_path = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r": FullDisk(path, "x+") if mode == "x+b" else open_path(path, mode)
    )
    with (
        pytest.raises(OSError, match=r"No space left on device.*growl\.wav'$"),
        StemFolder(tmp_path / "stems") as folder,
    ):
        folder.write(noise(1, samples), 48000, "growl", METADATA)
    assert list(tmp_path.iterdir()) == []
    # Errors in a callback from C are printed to stderr.
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("shot 010", "shot 010"),
        ("a/b\\c:d", "a-b-c-d"),
        ("../../etc/passwd", "etc-passwd"),
        ("", "clip"),
        ("...", "clip"),
        ("CON", "_CON"),
        ("nul.wav", "_nul.wav"),
        ("дождь", "дождь"),
        ("line\nbreak\0", "line break"),
        ('what? "this"', "what- -this"),
    ],
)
def test_names_become_safe(name: str, safe: str) -> None:
    assert safe_file_name(name) == safe


@given(st.text(max_size=400))
def test_any_name_gives_a_file(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("stems")
    safe = safe_file_name(name)
    path = folder / f"{safe} 12345.wav"
    path.touch()
    assert [found.name for found in folder.iterdir()] == [path.name]
    assert safe_file_name(safe) == safe


def test_a_failed_job_removes_its_folders_and_partial_transfers(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="lost"):
        _interrupt_a_transfer(tmp_path / "there" / "a" / "b")
    assert list((tmp_path / "there").iterdir()) == []


def _interrupt_a_transfer(stems: Path) -> None:
    with StemFolder(stems) as folder:
        path = folder.claim("growl", ".wav")
        (path.parent / f".{path.name}.0123456789abcdef.part").write_bytes(b"half")
        raise OSError("lost")
