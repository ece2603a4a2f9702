"""The parity checks: our outputs and those of the reference implementation for the same inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import energy_hint
from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.conversion.checkpoints import Checkpoint
from rewas_engine.conversion.parts import ModuleTensors, released_parts
from rewas_engine.conversion.sizes import ReleasedSizes, released_schedule
from rewas_engine.curves.energy import energy_agreement
from rewas_engine.energy_estimation.token_times import released_control, released_smoothing, resample_nearest
from rewas_engine.errors import CheckpointError
from rewas_engine.evaluation.av_align import av_align
from rewas_engine.generation.denoising import ControlledDenoiser
from rewas_engine.generation.sampling import apply_guidance, sample
from rewas_engine.models.codec import encode_scaled
from rewas_engine.packs.backbones.audioldm import AudioLdm
from rewas_engine.parity.comparison import SAMPLER_BOUND, Comparison, compare
from rewas_engine.parity.reference_arrays import ReferenceArrays, ReferenceArraysError
from rewas_engine.parity.synthetic_weights import recipe_part

Component = Callable[[str], Any]
"""Function from a role to its full-size module, with weights from the recipe."""
Arrays = Mapping[str, Any]
"""Reference arrays by name, see `rewas_engine.parity.reference_arrays`."""
TinyParts = tuple[Any, Any]
"""The denoiser and the adapter of tiny_unet_adapter.npz."""
FILES = (
    "energy",
    "energy_mae",
    "av_align",
    "tiny_unet_adapter",
    "ddim_tiny",
    "phi",
    "motionformer_full",
    "vae_hifigan_full",
    "unet_adapter_full",
)
"""The files of arrays in a parity folder."""
_TINY = ReleasedSizes(widths=(32, 64, 64), blocks=1, text=16)


def check_front_end(arrays: Arrays) -> Iterator[Comparison]:
    """energy.npz: from waveform to log-mel, energy and control."""
    front_end, file = AudioFrontEnd(MelConfig()), "energy"
    waveform = normalise(arrays["waveform_raw"])
    yield compare(f"{file}: mel_filterbank", front_end.filter_bank, arrays["mel_filterbank"])
    yield compare(f"{file}: waveform_norm", waveform, arrays["waveform_norm"])
    yield compare(f"{file}: log_mel", front_end.encode(waveform), arrays["log_mel"])
    energy = front_end.measure_energy(waveform).values
    yield compare(f"{file}: energy_raw_512", energy, arrays["energy_raw_512"])
    tokens = resample_nearest(energy, 112)
    yield compare(f"{file}: energy_112_nearest", tokens, arrays["energy_112_nearest"])
    yield compare(f"{file}: energy_112_savgol_w9_p2", released_smoothing(tokens), arrays["energy_112_savgol_w9_p2"])
    yield compare(f"{file}: control_512", released_control(tokens), arrays["control_512"])


def check_energy_error(arrays: Arrays) -> Iterator[Comparison]:
    """energy_mae.npz: the energies of two sounds, and their mean absolute difference."""
    front_end = AudioFrontEnd(MelConfig())
    target, generated = (
        front_end.measure_energy(normalise(arrays[f"waveform_raw_{side}"])).values for side in ("gt", "pred")
    )
    yield compare("energy_mae: energy_gt", target, arrays["energy_gt"])
    yield compare("energy_mae: energy_pred", generated, arrays["energy_pred"])
    yield compare("energy_mae: mae", energy_agreement(target, generated)[0], arrays["mae"])


@torch.inference_mode()
def check_phi(arrays: Arrays, component: Component) -> Iterator[Comparison]:
    """phi.npz: φ at full size, on one clip and on a batch, and the control that follows from its output."""
    phi, one, three = component("phi"), torch.from_numpy(arrays["x_b1"]), torch.from_numpy(arrays["x_b3"])
    projected = phi.projection(one[:, :2])
    first = phi.layers[0](projected.reshape(2, 1, -1)).reshape(projected.shape)
    yield compare("phi: after_projection1_first2tokens", projected, arrays["after_projection1_first2tokens"])
    yield compare("phi: after_block0_first2tokens", first, arrays["after_block0_first2tokens"])
    energies = phi(one)
    yield compare("phi: out_b1", energies[..., None], arrays["out_b1"])
    yield compare("phi: out_b3_each_alone", phi(three)[..., None], arrays["out_b3_each_alone"])
    # The release attends over the batch, which equals attention over time with the two axes swapped.
    over_time = type(phi).from_config({**phi.config, "attends_over": "time"}).eval()
    over_time.load_state_dict(phi.state_dict())
    yield compare("phi: out_b3", over_time(three.transpose(0, 1)).T[..., None], arrays["out_b3"])
    tokens = energies[0].numpy()
    yield compare("phi: inference_savgol_112", released_smoothing(tokens)[None], arrays["inference_savgol_112"])
    yield compare("phi: inference_control_512", released_control(tokens)[None], arrays["inference_control_512"])


@torch.inference_mode()
def check_tiny_denoiser(arrays: Arrays, parts: TinyParts) -> Iterator[Comparison]:
    """tiny_unet_adapter.npz: a small denoiser and adapter."""
    denoiser, adapter = parts
    sample_, text, hint, timestep = (torch.from_numpy(arrays[name]) for name in ("x", "y", "hint", "t"))
    yield compare("tiny_unet_adapter: hint_block_out", adapter._project_hint(hint), arrays["hint_block_out"])
    skips, middle = adapter(sample_, timestep, text, hint)
    for index, residual in enumerate((*skips, middle)):
        yield compare(f"tiny_unet_adapter: control_{index}", residual, arrays[f"control_{index}"])
    nothing = tuple(torch.zeros_like(skip) for skip in skips)
    for name, added in (("nocontrol", None), ("control", (skips, middle)), ("only_mid_control", (nothing, middle))):
        predicted = _predict_noise(denoiser, sample_, timestep, text, added)
        yield compare(f"tiny_unet_adapter: eps_{name}", predicted, arrays[f"eps_{name}"])


@torch.inference_mode()
def check_sampler(arrays: Arrays, parts: TinyParts) -> Iterator[Comparison]:
    """ddim_tiny.npz: the schedule, and sampling with guidance and fixed noise.

    The networks run in float64: in float32, the rounding of a prediction grows up to 12 times in the estimate of the
    clean latents, and depends on the processor and its threads. What remains is the rounding of the reference.
    """
    schedule = released_schedule()
    schedule.set_timesteps(200)
    times = schedule.timesteps.flip(0)
    before = torch.cat([schedule.alphas_cumprod[:1], schedule.alphas_cumprod[times[:-1]]])
    variances = [float(schedule._get_variance(int(time), int(time) - 5)) for time in times]
    for name, ours in (
        ("betas_f64", schedule.betas),
        ("timesteps_200", times),
        ("ddim_alphas_200", schedule.alphas_cumprod[times]),
        ("ddim_alphas_prev_200", before),
        ("ddim_sigmas_200", np.sqrt(variances)),
    ):
        yield compare(f"ddim_tiny: {name}", ours, arrays[name], SAMPLER_BOUND)
    cond, uncond, hint, noise, steps = (
        torch.from_numpy(arrays[name]).double() for name in ("y_cond", "y_uncond", "hint", "x_T", "noises")
    )
    denoiser, adapter = (copy.deepcopy(part).double() for part in parts)
    backbone = AudioLdm({"denoiser": denoiser, "adapter": adapter}, MelConfig(), "cpu")
    denoise = ControlledDenoiser(
        backbone, cond, uncond[0], hint, [0], float(arrays["guidance_scale"]), 1.0, batch_size=1
    )
    clean: list[torch.Tensor] = []

    def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        predicted = denoise(latents, timestep)
        kept = schedule.alphas_cumprod[timestep]
        clean.append((latents - (1 - kept).sqrt() * predicted) / kept.sqrt())
        return predicted

    latents = sample(
        predict,
        noise[0],
        schedule,
        num_inference_steps=len(steps),
        eta=float(arrays["eta"]),
        generator=torch.Generator(),
        step_noise=lambda step: steps[step, 0],
    )
    yield compare("ddim_tiny: pred_x0_first", clean[0][None], arrays["pred_x0_first"], SAMPLER_BOUND)
    yield compare("ddim_tiny: pred_x0_last", clean[-1][None], arrays["pred_x0_last"], SAMPLER_BOUND)
    yield compare("ddim_tiny: final", latents[None], arrays["final"], SAMPLER_BOUND)


@torch.inference_mode()
def check_full_denoiser(arrays: Arrays, component: Component) -> Iterator[Comparison]:
    """unet_adapter_full.npz: denoiser and adapter at full size."""
    denoiser, adapter = component("denoiser"), component("adapter")
    names = ("x", "y", "y_uncond", "hint_latent", "t")
    sample_, text, empty, hint, timestep = (torch.from_numpy(arrays[name]) for name in names)
    residuals = adapter(sample_, timestep, text, hint)
    everything = [*residuals[0], residuals[1]]
    figures = [[float(one.std(correction=0)), float(one.mean()), float(one.abs().max())] for one in everything]
    yield compare("unet_adapter_full: control_0_std_mean", figures, arrays["control_0_std_mean"])
    yield compare("unet_adapter_full: control_10", residuals[0][10], arrays["control_10"])
    yield compare("unet_adapter_full: control_mid", residuals[1], arrays["control_mid"])
    plain = _predict_noise(denoiser, sample_, timestep, text, None)
    yield compare("unet_adapter_full: eps_nocontrol", plain, arrays["eps_nocontrol"])
    steered = _predict_noise(denoiser, sample_, timestep, text, residuals)
    yield compare("unet_adapter_full: eps_control", steered, arrays["eps_control"])
    bare = adapter(sample_, timestep, empty, torch.zeros_like(hint))
    unsteered = _predict_noise(denoiser, sample_, timestep, empty, bare)
    yield compare("unet_adapter_full: eps_uncond_zero_hint", unsteered, arrays["eps_uncond_zero_hint"])
    yield compare("unet_adapter_full: eps_cfg3", apply_guidance(steered, unsteered, 3.0), arrays["eps_cfg3"])


@torch.inference_mode()
def check_codec_and_vocoder(arrays: Arrays, component: Component) -> Iterator[Comparison]:
    """vae_hifigan_full.npz: VAE and vocoder at full size."""
    file, codec = "vae_hifigan_full", component("codec")
    control = torch.from_numpy(arrays["control_512"])
    hint = energy_hint(control, partial(encode_scaled, codec), 64) / codec.config.scaling_factor
    yield compare(f"{file}: control_posterior_mean", hint, arrays["control_posterior_mean"])
    spread = codec.encode(control[:, None, :, None].repeat(1, 1, 1, 64)).latent_dist.logvar
    yield compare(f"{file}: control_posterior_logvar", spread, arrays["control_posterior_logvar"])
    posterior = codec.encode(torch.from_numpy(arrays["log_mel_in"])).latent_dist
    yield compare(f"{file}: mel_posterior_mean", posterior.mean, arrays["mel_posterior_mean"])
    yield compare(f"{file}: mel_posterior_logvar", posterior.logvar, arrays["mel_posterior_logvar"])
    decoded = codec.decode(torch.from_numpy(arrays["z"])).sample
    yield compare(f"{file}: decoded_mel", decoded, arrays["decoded_mel"])
    waveform = component("vocoder")(torch.from_numpy(arrays["vocoder_in_mel_T_first"]))
    yield compare(f"{file}: vocoder_out", waveform, arrays["vocoder_out"])


@torch.inference_mode()
def check_video_encoder(arrays: Arrays, component: Component) -> Iterator[Comparison]:
    """motionformer_full.npz: the video encoder at full size on two segments of a clip."""
    encoder, file = component("video_encoder"), "motionformer_full"
    starts = encoder.segment_starts(len(arrays["frames_small_uint8"]))
    yield compare(f"{file}: first_frame_of_segment", starts, arrays["first_frame_of_segment"], 0.0)
    frames = arrays["frames_small_uint8"]
    segments = [released_pixels(frames[starts[index] :][:16]) for index in arrays["segment_index"]]
    corner = segments[0][0, :8, :, 0]
    patch = "input_patch_seg0_frame0_ch0_rows0_8"
    yield compare(f"{file}: {patch}", corner, arrays[patch])
    tokens = torch.cat([encoder.encode_segments(segment[None]) for segment in segments])
    yield compare(f"{file}: features", tokens, arrays["features"])


def check_av_align(arrays: Arrays) -> Iterator[Comparison]:
    """av_align.npz: intersection over union of given peaks. How peaks are found differs and is not compared."""
    peaks = {"": ("audio_peaks_sec", "video_peaks_sec"), "toy_": ("audio", "video"), "onesided_": ("audio", "video")}
    for case, (audio, video) in peaks.items():
        rate = float(arrays["fps" if not case else f"{case}fps"])
        score = av_align(arrays[f"{case}{audio}"], arrays[f"{case}{video}"], rate)
        yield compare(f"av_align: {case}score", score, arrays[f"{case}score"], 0.0)


def open_arrays(folder: Path, name: str) -> Arrays:
    """Open one file of arrays of a parity folder."""
    return ReferenceArrays(folder / "golden" / f"{name}.npz")


def tiny_parts(weights: Arrays) -> TinyParts:
    """Build the denoiser and the adapter of tiny_unet_adapter.npz, whose weights have the released names.

    Raises ReferenceArraysError if weights are missing.
    """
    tensors = {name: torch.from_numpy(weights[name]).float() for name in weights if name.startswith("w:")}
    source = Checkpoint(Path("tiny_unet_adapter.npz"), "the small denoiser and adapter", tensors)
    parts = released_parts(_TINY)
    prefixes = {"denoiser": "w:model.diffusion_model.", "adapter": "w:control_model."}
    try:
        found = {
            role: parts[role].match_tensors(_TINY, ModuleTensors.from_prefix(prefix, source))
            for role, prefix in prefixes.items()
        }
    except CheckpointError as error:
        raise ReferenceArraysError(error.what) from error
    return _tiny_modules(found)


def tiny_parts_by_recipe() -> TinyParts:
    """Build the same modules without the file: the weights come from the recipe and are rounded to float16."""
    weights = {role: recipe_part(role, _TINY) for role in ("denoiser", "adapter")}
    return _tiny_modules(
        {role: {name: tensor.half().float() for name, tensor in tensors.items()} for role, tensors in weights.items()}
    )


def released_pixels(frames: NDArray[np.uint8]) -> torch.Tensor:
    """Preprocess frames [T, 3, h, w] as the reference does, with a rounding to float16: [T, 224, 224, 3], -1 to 1."""
    rows, columns = (np.arange(size) * frames.shape[axis] // size for size, axis in ((256, 2), (340, 3)))
    large = torch.from_numpy(frames[:, :, rows][..., columns])
    cropped = large[:, :, 16:240, 58:282].movedim(1, -1).to(torch.float16)
    return ((cropped / 255 - 0.5) / 0.5).float()


def _tiny_modules(tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> TinyParts:
    modules = []
    for role in ("denoiser", "adapter"):
        module: Any = getattr(_TINY, f"new_{role}")()
        module.load_state_dict(tensors[role])
        modules.append(module.eval().requires_grad_(False))
    return modules[0], modules[1]


def _predict_noise(denoiser: Any, latents: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, added: Any) -> Any:
    residuals: dict[str, Any] = {}
    if added is not None:
        residuals = {"down_block_additional_residuals": added[0], "mid_block_additional_residual": added[1]}
    return denoiser(latents, timestep, encoder_hidden_states=None, class_labels=text, **residuals).sample
