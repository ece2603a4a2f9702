"""Execution of a pack: precision, memory, caching, and recovery when memory runs out or compiling fails."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_clips import noise, write_numbered_clip
from torch import nn

from rewas_engine import (
    Control,
    Execution,
    InsufficientMemoryError,
    PackError,
    ReWaS,
    Sampling,
    SettingsError,
    VideoClip,
    flat_curve,
)
from rewas_engine.conditioning.controls import Controls
from rewas_engine.packs.description import read_pack
from rewas_engine.packs.loading import component_precision, load_with_memory_fallback
from rewas_engine.runtime.memory import raises_out_of_memory, run_within_memory
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.precision import cast_heavy_layers, resolve_precision, weight_dtype

FRAMES = 900


def _controls() -> Controls:
    return Controls(energy=np.linspace(-9, -3, FRAMES).astype(np.float32))


def _generate_log_mel(model: ReWaS, steps: int = 2, scale: float = 2.0) -> torch.Tensor:
    return model.sound_generator.generate_log_mel(
        "rain", _controls(), 1, model.sampling_settings(Sampling(num_inference_steps=steps, guidance_scale=scale))
    )


def _record_batch_sizes(model: ReWaS, batch_sizes: list[int]):
    return model._components["denoiser"].register_forward_pre_hook(
        lambda module, inputs: batch_sizes.append(len(inputs[0]))
    )


@pytest.fixture(scope="module")
def plain(tiny_pack: Path) -> ReWaS:
    return ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="float32"))


@pytest.fixture(scope="module")
def plain_log_mel(plain: ReWaS) -> torch.Tensor:
    """What other executions are compared with."""
    return _generate_log_mel(plain)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> VideoClip:
    path = tmp_path_factory.mktemp("clips") / "short.mkv"
    return VideoClip(write_numbered_clip(path, frames=30, rate="25", sound=noise(19_200)))


@pytest.mark.parametrize(
    "execution",
    [
        Execution(precision="float32", batch_size=1),
        Execution(precision="float32", batch_size=2),
        Execution(precision="float32", channels_last=False, caching=False),
        Execution(precision="float32", low_memory=True),
    ],
    ids=["two passes", "window by window", "plain layout", "low memory"],
)
def test_the_result_does_not_depend_on_the_execution(
    tiny_pack: Path, plain_log_mel: torch.Tensor, execution: Execution
) -> None:
    other = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=execution)
    log_mel = _generate_log_mel(other)
    torch.testing.assert_close(log_mel, plain_log_mel, atol=2e-4, rtol=1e-4)
    # The same settings give identical samples.
    torch.testing.assert_close(_generate_log_mel(other), log_mel, atol=0, rtol=0)


def test_batch_size_1_runs_windows_and_branches_one_by_one(tiny_pack: Path) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(batch_size=1))
    batch_sizes: list[int] = []
    hook = _record_batch_sizes(model, batch_sizes)
    _generate_log_mel(model, steps=1)
    hook.remove()
    assert set(batch_sizes) == {1}
    assert len(batch_sizes) == 2 * len(model.sound_generator.window.starts(FRAMES))


def test_both_branches_are_one_batch(plain: ReWaS) -> None:
    batch_sizes: list[int] = []
    hook = _record_batch_sizes(plain, batch_sizes)
    plain.sound_generator.generate_log_mel(
        "rain",
        Controls(energy=np.zeros(8, np.float32)),
        1,
        plain.sampling_settings(Sampling(num_inference_steps=2, guidance_scale=3.0)),
    )
    hook.remove()
    assert batch_sizes == [2, 2]


def test_low_precision_applies_to_heavy_layers_and_changes_little(
    tiny_pack: Path, plain: ReWaS, plain_log_mel: torch.Tensor
) -> None:
    low = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="bfloat16"))
    for role in ("denoiser", "adapter", "video_encoder", "codec"):
        assert weight_dtype(low._components[role]) == torch.bfloat16
    for role in ("phi", "vocoder"):
        assert weight_dtype(low._components[role]) == torch.float32
    norms = [part for part in low._components["denoiser"].modules() if isinstance(part, nn.GroupNorm)]
    assert norms
    assert all(norm.weight.dtype == torch.float32 for norm in norms)
    assert 1.6 < plain.weight_bytes["denoiser"] / low.weight_bytes["denoiser"] <= 2
    assert low.sampling_settings().precision == "bfloat16"
    first, second = plain_log_mel, _generate_log_mel(low)
    assert 0 < float((first - second).abs().mean()) < 0.05
    assert torch.corrcoef(torch.stack([first.mean(dim=1), second.mean(dim=1)]))[0, 1] > 0.99


def test_cast_weights_give_the_result_of_autocast() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.Flatten(), nn.Linear(288, 5)).eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = network(images)
        cast_heavy_layers(network, torch.bfloat16)
        assert torch.equal(network(images), expected)


def test_sampling_above_the_loaded_precision_is_refused(tiny_pack: Path) -> None:
    low = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="bfloat16"))
    settings = replace(low.sampling_settings(Sampling(num_inference_steps=1)), precision="float32")
    with pytest.raises(SettingsError, match=r"loaded as torch\.bfloat16"):
        low.sound_generator.generate_log_mel("rain", _controls(), 1, settings)


def test_auto_resolves_to_a_precision_of_the_device() -> None:
    assert resolve_precision("float16", "cpu") == "float16"
    assert resolve_precision("auto", "cpu") in ("float32", "bfloat16")


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="'double' is unknown"):
        Execution(precision="double")
    with pytest.raises(SettingsError, match="The batch size is 0"):
        Execution(batch_size=0)
    with pytest.raises(SettingsError, match="contradicts low memory"):
        Execution(compiled=True, low_memory=True)


def test_low_memory_keeps_only_the_networks_in_use(tiny_pack: Path, clip: VideoClip) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(low_memory=True))
    large = {"video_encoder", "phi", "denoiser", "adapter", "codec", "vocoder"}
    assert not large & set(model._components.loaded_roles)
    model.estimate_energy(clip)
    assert large & set(model._components.loaded_roles) == {"video_encoder", "phi"}
    loaded: list[set[str]] = []
    settings = model.sampling_settings(Sampling(num_inference_steps=2))
    model.sound_generator.generate_log_mel(
        "rain", _controls(), 1, settings, lambda step: loaded.append(set(model._components.loaded_roles) & large)
    )
    assert loaded == [{"denoiser", "adapter"}] * 2
    model.sound_generator.vocoder.vocode(torch.full((512, 64), -5.0), 81_920)
    assert large & set(model._components.loaded_roles) == {"vocoder"}


def test_prompts_videos_and_curves_are_encoded_once(tiny_pack: Path, clip: VideoClip) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu")
    calls = dict.fromkeys(("text_encoder", "video_encoder", "phi"), 0)

    def counter(role: str):
        def count(module, inputs) -> None:
            calls[role] += 1

        return count

    for role in calls:
        model._components[role].register_forward_pre_hook(counter(role))
    codec, encoded = model._components["codec"], []
    encode = codec.encode
    codec.encode = lambda x: encoded.append(len(x)) or encode(x)
    first = model.generate(
        clip, prompt="rain", takes=2, seed=1, sampling=Sampling(num_inference_steps=1, guidance_scale=2.0)
    )
    first_calls = dict(calls), len(encoded)
    # Two prompts (the given one and the empty one) and the kind of the given one, one video, one curve: independent of
    # the number of takes.
    assert first_calls == ({"text_encoder": 3, "video_encoder": 1, "phi": 1}, 1)
    second = model.generate(
        clip, prompt="rain", takes=2, seed=1, sampling=Sampling(num_inference_steps=1, guidance_scale=2.0)
    )
    assert (calls, len(encoded)) == first_calls
    for one, other in zip(first.takes, second.takes, strict=True):
        np.testing.assert_array_equal(one.stems["primary"].waveform, other.stems["primary"].waveform)
    model.generate(clip, prompt="wind", sampling=Sampling(num_inference_steps=1, guidance_scale=2.0))
    assert calls == {"text_encoder": 5, "video_encoder": 1, "phi": 1}
    model.clear_cache()
    model.estimate_energy(clip)
    assert calls["video_encoder"] == 2


def test_a_given_curve_skips_the_video(tiny_pack: Path, clip: VideoClip) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(low_memory=True))
    result = model.generate(
        clip,
        prompt="rain",
        control=Control(energy=flat_curve(duration=model.read_clip(clip).duration_s)),
        sampling=Sampling(num_inference_steps=1),
    )
    assert "energy" not in result.timings_s
    assert "video_encoder" not in model._components.loaded_roles


class _Broken(RuntimeError):
    """An error other than out of memory, whatever its message."""

    def __str__(self) -> str:
        return "shapes do not match"


class _LimitedDenoiser(nn.Module):
    """A denoiser that runs out of memory above a batch size."""

    def __init__(self, inner: nn.Module, max_batch_size: int, error: type[BaseException]) -> None:
        super().__init__()
        self.inner, self.max_batch_size, self.error, self.config = inner, max_batch_size, error, inner.config
        self.tried: list[int] = []

    def forward(self, sample: torch.Tensor, *inputs, **named):
        self.tried.append(len(sample))
        if len(sample) > self.max_batch_size:
            raise self.error("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return self.inner(sample, *inputs, **named)


@pytest.fixture
def limited_model(tiny_pack: Path):
    """Returns a function that loads a model whose denoiser runs out of memory."""

    def make(max_batch_size: int, error: type[BaseException]) -> tuple[ReWaS, _LimitedDenoiser]:
        model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="float32"))
        denoiser = _LimitedDenoiser(model._components["denoiser"], max_batch_size, error).eval()
        model._components._held["denoiser"] = denoiser
        return model, denoiser

    return make


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_sampling_is_retried_with_a_smaller_batch(
    limited_model, plain_log_mel: torch.Tensor, error: type[BaseException], caplog
) -> None:
    model, denoiser = limited_model(1, error)
    torch.testing.assert_close(_generate_log_mel(model), plain_log_mel, atol=2e-4, rtol=1e-4)
    assert denoiser.tried[0] > 1
    assert set(denoiser.tried[1:]) == {1}
    assert "trying again at batch size 1" in caplog.text


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_at_batch_size_1_is_reported(limited_model, clip: VideoClip, error: type[BaseException]) -> None:
    model, denoiser = limited_model(0, error)
    with pytest.raises(InsufficientMemoryError, match="Out of memory while sampling") as raised:
        model.generate(clip, prompt="rain", sampling=Sampling(num_inference_steps=1, guidance_scale=2.0))
    assert denoiser.tried == [2, 1]
    assert "--low-memory" in raised.value.remedy
    # The model still works afterwards.
    denoiser.max_batch_size = 8
    assert model.generate(clip, prompt="rain", sampling=Sampling(num_inference_steps=1)).takes


def test_other_errors_are_not_retried(limited_model, clip: VideoClip) -> None:
    model, denoiser = limited_model(0, RuntimeError)
    denoiser.error = type(
        "Broken", (RuntimeError,), {"__init__": lambda self, message: super(RuntimeError, self).__init__("no")}
    )
    with pytest.raises(RuntimeError, match="no"):
        model.generate(clip, prompt="rain", sampling=Sampling(num_inference_steps=1))
    assert len(denoiser.tried) == 1


def test_out_of_memory_errors_are_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)  # the message of torch's CPU allocator
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    "reason",
    [
        RuntimeError("unable to mmap 32 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
        RuntimeError("could not create a primitive"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory", "model.safetensors"),
    ],
    ids=["mmap", "oneDNN", "thread", "errno"],
)
def test_out_of_memory_is_recognised_by_the_cause_of_an_error(reason: Exception) -> None:
    def work(count: int) -> None:
        try:
            raise reason
        except Exception as error:
            raise PackError("The component denoiser cannot be loaded.", "Install the pack again.") from error

    with pytest.raises(InsufficientMemoryError):
        run_within_memory(work, 2, "loading", "Close something.")
    assert is_out_of_memory(reason)
    assert not is_out_of_memory(OSError(errno.ENOENT, "No such file", "out of memory.mkv"))


@pytest.fixture
def onednn() -> Iterator[None]:
    """oneDNN is used again after the test."""
    before = torch.backends.mkldnn.enabled
    assert before
    yield
    torch.backends.mkldnn.enabled = before


def test_work_is_retried_without_onednn(onednn: None, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[int, bool]] = []

    def work(count: int) -> str:
        seen.append((count, torch.backends.mkldnn.enabled))
        if torch.backends.mkldnn.enabled:
            raise RuntimeError("could not create a primitive")
        return "done"

    assert run_within_memory(work, 4, "sampling", "Close something.") == "done"
    assert seen == [(4, True), (1, True), (1, False)]
    # It would keep failing in all later work, too.
    assert run_within_memory(work, 4, "vocoding", "Close something.") == "done"
    assert seen[3:] == [(4, False)]
    assert caplog.text.count("now runs without it") == 1


def test_onednn_is_not_used_after_it_has_failed_anywhere(onednn: None) -> None:
    @raises_out_of_memory("generating sound", "Close something.")
    def work() -> str:
        if torch.backends.mkldnn.enabled:
            raise RuntimeError("could not create a primitive")
        return "done"

    with pytest.raises(InsufficientMemoryError):
        work()
    assert work() == "done"


def test_out_of_memory_in_the_video_encoder_suggests_low_memory(tiny_pack: Path, clip: VideoClip, onednn: None) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu")

    class Blind(nn.Module):
        def forward(self, *shown: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("could not create a primitive")

    model._components._held["video_encoder"] = Blind()
    with pytest.raises(InsufficientMemoryError, match="while encoding the video") as raised:
        model.estimate_energy(clip)
    assert "--low-memory" in raised.value.remedy


def test_loading_is_retried_with_less_memory(tiny_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rewas_engine.packs.loading as loading

    real, loaded = loading.load_component, []

    def crowded(folder: Path, role: str, *more):
        # Memory for three networks at once, but for any number one after the other.
        loaded.append(role)
        if len(loaded) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(folder, role, *more)

    monkeypatch.setattr(loading, "load_component", crowded)
    model = ReWaS.from_pretrained(tiny_pack, device="cpu")
    assert model.execution.low_memory
    assert torch.isfinite(_generate_log_mel(model, steps=1)).all()


def test_loading_reports_out_of_memory_after_all_retries() -> None:
    tried: list[Execution] = []

    def load(execution: Execution) -> None:
        tried.append(execution)
        raise MemoryError

    with pytest.raises(InsufficientMemoryError, match="while loading the pack large"):
        load_with_memory_fallback(load, Execution(compiled=True), "large")
    assert [execution.low_memory for execution in tried] == [False, True]
    with pytest.raises(InsufficientMemoryError):
        load_with_memory_fallback(load, Execution(low_memory=True), "large")
    assert len(tried) == 3


def test_work_at_batch_size_1_is_tried_once() -> None:
    tried: list[int] = []

    def work(count: int) -> None:
        tried.append(count)
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(InsufficientMemoryError, match="while looking"):
        run_within_memory(work, 1, "looking", "Close something.")
    assert tried == [1]


@pytest.mark.slow
def test_a_missing_compiler_is_named(tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    from torch._inductor import config

    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(compiled=True, precision="float32"))
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(SettingsError, match="cannot be compiled"):
        _generate_log_mel(model, steps=1)


def test_a_cpu_that_only_emulates_a_precision_uses_float32(tiny_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description = read_pack(tiny_pack)
    own = replace(description, sampling={**description.sampling, "precision": "bfloat16"})
    for supported, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda supported=supported: supported)
        assert component_precision("denoiser", own, "cpu", Execution()) == expected
        # A choice of the user counts, and memory counts more than speed.
        assert component_precision("denoiser", own, "cpu", Execution(precision="bfloat16")) == "bfloat16"
        assert component_precision("denoiser", own, "cpu", Execution(low_memory=True)) == "bfloat16"
