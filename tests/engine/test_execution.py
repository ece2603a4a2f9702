"""How a pack is run: precision, memory, what is kept, and what happens where memory runs out or compiling fails."""

from __future__ import annotations

import errno
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
from rewas_engine.packs.loading import load_with_memory_fallback
from rewas_engine.runtime.memory import run_within_memory
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.precision import cast_heavy_layers, resolve_precision, weight_dtype

FRAMES = 900


def _controls() -> Controls:
    return Controls(energy=np.linspace(-9, -3, FRAMES).astype(np.float32))


def _made(model: ReWaS, steps: int = 3, scale: float = 2.0) -> torch.Tensor:
    return model.sound_generator.generate_log_mel(
        "rain", _controls(), 1, model.sampling_settings(Sampling(num_inference_steps=steps, guidance_scale=scale))
    )


def _seen_batches(model: ReWaS, seen: list[int]):
    return model._components["denoiser"].register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))


@pytest.fixture(scope="module")
def plain(tiny_pack: Path) -> ReWaS:
    return ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="float32"))


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
def test_what_is_made_does_not_hang_on_how(tiny_pack: Path, plain: ReWaS, execution: Execution) -> None:
    other = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=execution)
    torch.testing.assert_close(_made(other), _made(plain), atol=2e-4, rtol=1e-4)
    # And the same way gives the same samples to the bit.
    torch.testing.assert_close(_made(other), _made(other), atol=0, rtol=0)


def test_windows_and_branches_follow_each_other_where_memory_is_to_be_saved(tiny_pack: Path) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(batch_size=1))
    seen: list[int] = []
    hook = _seen_batches(model, seen)
    _made(model, steps=1)
    hook.remove()
    assert set(seen) == {1}
    assert len(seen) == 2 * len(model.sound_generator.window.starts(FRAMES))


def test_both_branches_are_one_batch(plain: ReWaS) -> None:
    seen: list[int] = []
    hook = _seen_batches(plain, seen)
    plain.sound_generator.generate_log_mel(
        "rain",
        Controls(energy=np.zeros(8, np.float32)),
        1,
        plain.sampling_settings(Sampling(num_inference_steps=2, guidance_scale=3.0)),
    )
    hook.remove()
    assert seen == [2, 2]


def test_low_precision_is_held_where_the_work_is_and_changes_little(tiny_pack: Path, plain: ReWaS) -> None:
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
    first, second = _made(plain), _made(low)
    assert 0 < float((first - second).abs().mean()) < 0.05
    assert torch.corrcoef(torch.stack([first.mean(dim=1), second.mean(dim=1)]))[0, 1] > 0.99


def test_weights_held_low_are_what_autocast_makes_of_them() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.Flatten(), nn.Linear(288, 5)).eval()
    shown = torch.randn(2, 3, 8, 8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = network(shown)
        cast_heavy_layers(network, torch.bfloat16)
        assert torch.equal(network(shown), expected)


def test_a_pack_that_was_loaded_low_does_not_sample_high(tiny_pack: Path) -> None:
    low = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="bfloat16"))
    settings = replace(low.sampling_settings(Sampling(num_inference_steps=1)), precision="float32")
    with pytest.raises(SettingsError, match=r"loaded as torch\.bfloat16"):
        low.sound_generator.generate_log_mel("rain", _controls(), 1, settings)


def test_auto_is_what_the_device_runs_well() -> None:
    assert resolve_precision("float16", "cpu") == "float16"
    assert resolve_precision("auto", "cpu") in ("float32", "bfloat16")


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="'double' is unknown"):
        Execution(precision="double")
    with pytest.raises(SettingsError, match="The batch size is 0"):
        Execution(batch_size=0)
    with pytest.raises(SettingsError, match="contradicts low memory"):
        Execution(compiled=True, low_memory=True)


def test_with_low_memory_only_what_is_used_is_held(tiny_pack: Path, clip: VideoClip) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(low_memory=True))
    large = {"video_encoder", "phi", "denoiser", "adapter", "codec", "vocoder"}
    assert not large & set(model._components.loaded_roles)
    model.estimate_energy(clip)
    assert large & set(model._components.loaded_roles) == {"video_encoder", "phi"}
    held: list[set[str]] = []
    settings = model.sampling_settings(Sampling(num_inference_steps=2))
    model.sound_generator.generate_log_mel(
        "rain", _controls(), 1, settings, lambda step: held.append(set(model._components.loaded_roles) & large)
    )
    assert held == [{"denoiser", "adapter"}] * 2
    model.sound_generator.vocoder.vocode(torch.full((512, 64), -5.0), 81_920)
    assert large & set(model._components.loaded_roles) == {"vocoder"}


def test_words_pictures_and_curves_are_read_once(tiny_pack: Path, clip: VideoClip) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu")
    calls = dict.fromkeys(("text_encoder", "video_encoder", "phi"), 0)

    def counted(role: str):
        def count(module, inputs) -> None:
            calls[role] += 1

        return count

    for role in calls:
        model._components[role].register_forward_pre_hook(counted(role))
    codec, encoded = model._components["codec"], []
    encode = codec.encode
    codec.encode = lambda x: encoded.append(len(x)) or encode(x)
    first = model.generate(
        clip, prompt="rain", takes=2, seed=1, sampling=Sampling(num_inference_steps=1, guidance_scale=2.0)
    )
    read = dict(calls), len(encoded)
    # Two prompts (the words and none), one picture, one curve: whatever the number of takes.
    assert read == ({"text_encoder": 2, "video_encoder": 1, "phi": 1}, 1)
    again = model.generate(
        clip, prompt="rain", takes=2, seed=1, sampling=Sampling(num_inference_steps=1, guidance_scale=2.0)
    )
    assert (calls, len(encoded)) == read
    for one, other in zip(first.takes, again.takes, strict=True):
        np.testing.assert_array_equal(one.stems["primary"].waveform, other.stems["primary"].waveform)
    model.generate(clip, prompt="wind", sampling=Sampling(num_inference_steps=1, guidance_scale=2.0))
    assert calls == {"text_encoder": 3, "video_encoder": 1, "phi": 1}
    model.clear_cache()
    model.estimate_energy(clip)
    assert calls["video_encoder"] == 2


def test_a_curve_of_ones_own_leaves_the_picture_alone(tiny_pack: Path, clip: VideoClip) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(low_memory=True))
    made = model.generate(
        clip,
        prompt="rain",
        control=Control(energy=flat_curve(duration=model.read_clip(clip).duration_s)),
        sampling=Sampling(num_inference_steps=1),
    )
    assert "energy" not in made.timings_s
    assert "video_encoder" not in model._components.loaded_roles


class _Broken(RuntimeError):
    """No lack of memory, whatever is said."""

    def __str__(self) -> str:
        return "shapes do not match"


class _Greedy(nn.Module):
    """A denoiser that has memory for so many windows at once and no more."""

    def __init__(self, inner: nn.Module, room: int, error: type[BaseException]) -> None:
        super().__init__()
        self.inner, self.room, self.error, self.config = inner, room, error, inner.config
        self.tried: list[int] = []

    def forward(self, sample: torch.Tensor, *inputs, **named):
        self.tried.append(len(sample))
        if len(sample) > self.room:
            raise self.error("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return self.inner(sample, *inputs, **named)


@pytest.fixture
def greedy(tiny_pack: Path):
    """Makes a model whose denoiser runs out of memory."""

    def make(room: int, error: type[BaseException]) -> tuple[ReWaS, _Greedy]:
        model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="float32"))
        denoiser = _Greedy(model._components["denoiser"], room, error).eval()
        model._components._held["denoiser"] = denoiser
        return model, denoiser

    return make


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_sampling_is_tried_again_with_less_at_once(greedy, plain: ReWaS, error: type[BaseException], caplog) -> None:
    model, denoiser = greedy(1, error)
    torch.testing.assert_close(_made(model), _made(plain), atol=2e-4, rtol=1e-4)
    assert denoiser.tried[0] > 1
    assert set(denoiser.tried[1:]) == {1}
    assert "trying again at batch size 1" in caplog.text


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_where_one_window_is_too_much_it_is_said(greedy, clip: VideoClip, error: type[BaseException]) -> None:
    model, denoiser = greedy(0, error)
    with pytest.raises(InsufficientMemoryError, match="Out of memory while sampling") as raised:
        model.generate(clip, prompt="rain", sampling=Sampling(num_inference_steps=1, guidance_scale=2.0))
    assert denoiser.tried == [2, 1]
    assert "--low-memory" in raised.value.remedy
    # The model is none the worse for it.
    denoiser.room = 8
    assert model.generate(clip, prompt="rain", sampling=Sampling(num_inference_steps=1)).takes


def test_what_is_no_lack_of_memory_is_not_tried_again(greedy, clip: VideoClip) -> None:
    model, denoiser = greedy(0, RuntimeError)
    denoiser.error = type(
        "Broken", (RuntimeError,), {"__init__": lambda self, said: super(RuntimeError, self).__init__("no")}
    )
    with pytest.raises(RuntimeError, match="no"):
        model.generate(clip, prompt="rain", sampling=Sampling(num_inference_steps=1))
    assert len(denoiser.tried) == 1


def test_a_lack_of_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)  # what torch's own allocator says on a CPU
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
def test_a_lack_of_memory_is_known_by_what_an_error_came_of(reason: Exception) -> None:
    def work(count: int) -> None:
        try:
            raise reason
        except Exception as error:
            raise PackError("The component denoiser cannot be loaded.", "Install the pack again.") from error

    with pytest.raises(InsufficientMemoryError):
        run_within_memory(work, 2, "loading", "Close something.")
    assert is_out_of_memory(reason)
    assert not is_out_of_memory(OSError(errno.ENOENT, "No such file", "out of memory.mkv"))


def test_what_onednn_goes_on_to_refuse_is_done_without_it() -> None:
    seen: list[tuple[int, bool]] = []

    def work(count: int) -> str:
        seen.append((count, torch.backends.mkldnn.enabled))
        if torch.backends.mkldnn.enabled:
            raise RuntimeError("could not create a primitive")
        return "made"

    before = torch.backends.mkldnn.enabled
    assert run_within_memory(work, 4, "sampling", "Close something.") == "made"
    assert seen == [(4, True), (1, True), (1, False)]
    assert torch.backends.mkldnn.enabled == before


def test_too_much_picture_suggests_less_memory(tiny_pack: Path, clip: VideoClip) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu")

    class Blind(nn.Module):
        def forward(self, *shown: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("could not create a primitive")

    model._components._held["video_encoder"] = Blind()
    with pytest.raises(InsufficientMemoryError, match="while encoding the video") as raised:
        model.estimate_energy(clip)
    assert "--low-memory" in raised.value.remedy


def test_loading_is_tried_again_with_less(tiny_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rewas_engine.packs.loading as loading

    real, loaded = loading.load_component, []

    def crowded(folder: Path, role: str, *more):
        # Room for three networks, and for any number one after the other.
        loaded.append(role)
        if len(loaded) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(folder, role, *more)

    monkeypatch.setattr(loading, "load_component", crowded)
    model = ReWaS.from_pretrained(tiny_pack, device="cpu")
    assert model.execution.low_memory
    assert torch.isfinite(_made(model, steps=1)).all()


def test_where_loading_fits_in_no_way_it_is_said() -> None:
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


def test_work_is_tried_with_one_thing_only_once() -> None:
    tried: list[int] = []

    def work(count: int) -> None:
        tried.append(count)
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(InsufficientMemoryError, match="while looking"):
        run_within_memory(work, 1, "looking", "Close something.")
    assert tried == [1]


@pytest.mark.slow
def test_a_compiler_that_is_not_there_is_named(
    tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    from torch._inductor import config

    model = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(compiled=True, precision="float32"))
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(SettingsError, match="cannot be compiled"):
        _made(model, steps=1)
