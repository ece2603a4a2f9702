"""Memory is bounded by the number of windows in work. A longer clip adds only its small curves."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_clips import noise, read_numbers, write_numbered_clip, write_sound

from rewas_engine import ReWaS, Sampling, VideoClip
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import CHUNK_FRAMES, AudioFrontEnd, MelConfig
from rewas_engine.media import audio
from rewas_engine.media.audio import read_audio, resample
from rewas_engine.media.frame_stream import FrameStream
from rewas_engine.runtime.execution import DEFAULT_BATCH_SIZE

MIB_PER_MINUTE = 40
"""Memory that one more minute may take at its peak. Half an hour then takes below 1.5 GB."""

PROGRAM = """
import sys, threading
from fractions import Fraction
from pathlib import Path
from rewas_engine import Output, ReWaS, Sampling, VideoClip

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def peak(work):
    ended, samples = threading.Event(), [resident_mib()]
    def watch():
        while not ended.wait(0.005):
            samples.append(resident_mib())
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    return max(samples)

model = ReWaS.from_pretrained(sys.argv[1], device="cpu")
def generate(seconds):
    sampling = Sampling(num_inference_steps=1, guidance_scale=1.0)
    model.generate(VideoClip(sys.argv[2], duration=seconds), prompt="rain", sampling=sampling,
                   output=Output(sample_rate_hz=48_000))
generate(6)
print(peak(lambda: generate(20)), peak(lambda: generate(80)))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux reports the memory of a process")
@pytest.mark.slow
def test_a_longer_clip_takes_little_more_memory(tiny_pack: Path, tmp_path: Path) -> None:
    film = write_numbered_clip(tmp_path / "film.mkv", frames=80 * 6, rate=6, encoder={"preset": "ultrafast"})
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_pack), str(film)],
        # On a busy machine, two threads that wait for each other are many times slower than one. A fixed threshold
        # keeps the allocator from holding back freed arrays, as it otherwise does differently on every machine.
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "131072"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert completed.returncode == 0, completed.stderr
    short, long = map(float, completed.stdout.split())
    assert long - short < MIB_PER_MINUTE


def test_passed_frames_are_released() -> None:
    read: list[int] = []

    def decode():
        for number in range(1000):
            read.append(number)
            yield np.full((2, 3), number % 251, np.uint8)

    stream = FrameStream(decode(), 1000)
    for start in range(0, 900, 60):
        window = stream[start : start + 100]
        assert window[:, 0, 0].tolist() == [number % 251 for number in range(start, start + 100)]
        assert len(stream._held) <= 100
        assert read[-1] == start + 99
    assert stream[950:2000][:, 0, 0].tolist() == [number % 251 for number in range(950, 1000)]
    with pytest.raises(IndexError):
        stream[100:120]


def test_frames_of_a_clip_are_read_on_demand(model: ReWaS, long_clip: Path) -> None:
    clip = model.read_clip(VideoClip(long_clip, duration=10))
    whole = model._estimator.read_frames(clip, None)
    stream = model._estimator.stream_frames(clip, None)
    assert len(stream) == len(whole) == 250
    for start in (0, 50, 200):
        assert np.array_equal(stream[start : start + 128], whole[start : start + 128])
    assert read_numbers(whole)[:3] == [0, 1, 2]
    np.testing.assert_allclose(
        model._estimator.estimate(model._estimator.stream_frames(clip, None)).values,
        model._estimator.estimate(whole).values,
        atol=1e-5,
    )


@pytest.mark.slow
def test_batches_have_at_most_the_default_size(model: ReWaS, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_sizes: dict[str, list[int]] = {"denoiser": [], "codec": [], "vocoder": []}

    def watch(role: str, method: str) -> None:
        component = model._components[role]
        original = getattr(component, method)

        def count_batch(batch: torch.Tensor, *rest: object, **named: object) -> object:
            batch_sizes[role].append(len(batch))
            return original(batch, *rest, **named)

        monkeypatch.setattr(component, method, count_batch)

    watch("denoiser", "forward")
    watch("codec", "encode")
    watch("codec", "decode")
    watch("vocoder", "forward")
    settings = model.sampling_settings(Sampling(num_inference_steps=1, guidance_scale=1.0))
    energy = Controls(energy=np.full(6000, -6, np.float32))
    log_mel = model.sound_generator.generate_log_mel("rain", energy, 0, settings)
    model.sound_generator.vocoder.vocode(log_mel, 6000 * 160)
    windows = len(model.sound_generator.window.starts(6000))
    assert windows > DEFAULT_BATCH_SIZE
    assert sum(batch_sizes["denoiser"]) == windows
    assert max(count for counts in batch_sizes.values() for count in counts) <= DEFAULT_BATCH_SIZE


def test_log_mel_in_chunks_gives_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    front_end, frames = AudioFrontEnd(MelConfig()), 2 * CHUNK_FRAMES + 300
    waveform = torch.from_numpy(noise(frames * 160))[None]
    parts = front_end.log_mel(waveform)
    monkeypatch.setattr("rewas_engine.conditioning.mel.CHUNK_FRAMES", frames)
    torch.testing.assert_close(parts, front_end.log_mel(waveform), atol=1e-4, rtol=1e-5)
    assert parts.shape == (1, frames, 64)


@pytest.mark.parametrize("samples", [1, 999, 40_000])
def test_resampling_in_chunks_gives_the_same_result(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = noise(2 * samples).reshape(2, samples)
    whole = resample(sound, 16_000, 44_100, samples * 441 // 160)
    monkeypatch.setattr(audio, "_RESAMPLE_CHUNK_SAMPLES", 1000)
    np.testing.assert_allclose(resample(sound, 16_000, 44_100, samples * 441 // 160), whole, atol=1e-5)


def test_audio_is_read_as_a_stream(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", noise(480_000), 48_000)
    waveform = read_audio(path, start_s=Fraction(1), duration_s=Fraction(8), sample_rate_hz=48_000)
    np.testing.assert_allclose(waveform, noise(480_000)[48_000:432_000], atol=1e-4)
