"""Convert the released files to one pack. On failure, nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rewas_engine.conditioning.controls import supported_controls
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.conversion.diffusers_folder import DiffusersFolder
from rewas_engine.conversion.parts import released_parts
from rewas_engine.conversion.sizes import RELEASED, ReleasedSizes, released_schedule
from rewas_engine.conversion.sources import missing_file_error, read_part, read_rewas, read_source
from rewas_engine.conversion.tokenizer import check_tokenizer, copy_tokenizer
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.packs.components import CONFIG_FILE, config_json, save_weights
from rewas_engine.packs.description import new_pack_folder, write_description
from rewas_engine.runtime.progress import Progress, ProgressCallback

RELEASED_PACK = "rewas-audioldm-m"
LICENCE = "CC-BY-NC-SA-4.0"
PERMITS = (
    "Non-commercial use only, under CC BY-NC-SA 4.0: credit the authors of ReWaS, AudioLDM, Synchformer and CLAP, and "
    "share modified versions under the same licence."
)

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TOKEN_TIMES = ("centres", "released")
"""Place each token at its true centre, or all of them evenly over 5.12 seconds as in the release."""
RELEASED_SAMPLING = {"num_steps": 200, "guidance_scale": 3.0, "eta": 1.0}
"""Sampling settings of the release, whose sampler is DDIM."""
DEFAULT_NUM_STEPS = 25
"""Default number of steps, with DPM-Solver++; docs/speed.md lists the cost."""
_SOURCE_FILES = {
    "phi": "phi",
    "video_encoder": "synchformer",
    "codec": "vae",
    "vocoder": "vocoder",
    "text_encoder": "clap",
}
_CLASS_NAMES = {
    "text_encoder": "ClapTextEncoder",
    "video_encoder": "MotionFormer",
    "phi": "Phi",
    "codec": "AutoencoderKL",
    "denoiser": "UNet2DConditionModel",
    "adapter": "EnergyAdapter",
    "schedule": "DDIMScheduler",
    "vocoder": "SpeechT5HifiGan",
}

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ReleasedFiles:
    """Paths of the released files.

    Args:
        rewas: ReWaS checkpoint.
        phi: Checkpoint of φ.
        synchformer: Synchformer checkpoint.
        vae, vocoder, clap: Checkpoints; None if the ReWaS checkpoint or the AudioLDM-M folder contains the part.
        audioldm: AudioLDM-M folder in diffusers layout. Its denoiser, VAE, vocoder, text encoder and tokenizer replace
            those of the checkpoints.
        tokenizer: Folder with the tokenizer of RoBERTa.
    """

    rewas: Path
    phi: Path
    synchformer: Path
    vae: Path | None = None
    vocoder: Path | None = None
    clap: Path | None = None
    audioldm: Path | None = None
    tokenizer: Path | None = None


def convert_released(
    files: ReleasedFiles,
    folder: Path,
    *,
    dtype: str = "fp32",
    token_times: str = "centres",
    sizes: ReleasedSizes = RELEASED,
    on_progress: ProgressCallback | None = None,
) -> Path:
    """Write a pack into a new folder and return it.

    All files are checked completely before anything is written.

    Args:
        files: The released files.
        folder: Folder to create; its name becomes the name of the pack.
        dtype: Precision of the stored weights, one of DTYPES.
        token_times: One of TOKEN_TIMES.
        sizes: Sizes of the networks.
        on_progress: Called before each step.

    Raises:
        CheckpointError: A file has unexpected contents.
        PackError: The folder exists, or a file is missing.
        SettingsError: `dtype` or `token_times` is unknown.
    """
    if dtype not in DTYPES:
        raise SettingsError(f"The precision {dtype!r} is unknown.", f"Choose one of {', '.join(DTYPES)}.")
    if token_times not in TOKEN_TIMES:
        raise SettingsError(f"The time map {token_times!r} is unknown.", f"Choose one of {', '.join(TOKEN_TIMES)}.")
    if folder.exists():
        raise PackError(f"The folder {folder} already exists.", "Remove it, or give the pack another name.")

    def report(step: str, finished: int, total: int) -> None:
        if on_progress is not None:
            on_progress(Progress(step, finished, total, finished / total))

    conversion = _Conversion(files, sizes, DTYPES[dtype])
    roles = list(released_parts(sizes))
    total = 2 * len(roles) + 1
    tokenizer = conversion.tokenizer()
    for finished, role in enumerate(roles):
        report(f"Checking {conversion.title(role)}", finished, total)
        conversion.check(role)
    with new_pack_folder(folder) as unfinished:
        for finished, role in enumerate(roles, start=len(roles)):
            report(f"Writing {conversion.title(role)}", finished, total)
            conversion.write(role, unfinished / role)
        copy_tokenizer(tokenizer, unfinished / "text_encoder")
        (unfinished / "schedule").mkdir()
        (unfinished / "schedule" / CONFIG_FILE).write_text(config_json(released_schedule()), "utf-8")
        report("Hashing the files", total - 1, total)
        write_description(unfinished, _description(folder.name, conversion, sizes, token_times))
    report("Done", total, total)
    return folder


class _Conversion:
    """Finds the source of each part, and reads it again on each call so that only one file is in memory at a time."""

    def __init__(self, files: ReleasedFiles, sizes: ReleasedSizes, dtype: torch.dtype) -> None:
        self._files, self._sizes, self._dtype = files, sizes, dtype
        self._parts = released_parts(sizes)
        self._folder = DiffusersFolder(files.audioldm) if files.audioldm is not None else None
        if self._folder is not None:
            self._folder.check()
        self._rewas = read_rewas(files.rewas, self._parts, sizes)

    def title(self, role: str) -> str:
        return self._parts[role].title

    def tokenizer(self) -> Path:
        given = self._files.tokenizer or (self._folder.tokenizer() if self._folder is not None else None)
        return check_tokenizer(given, self._sizes.vocabulary)

    def check(self, role: str) -> None:
        """Raise CheckpointError if no file contains the part, or if a copy of it is damaged.

        The unused copies in the ReWaS checkpoint are checked too: a damaged copy means a damaged or different file.
        """
        if role == "codec":
            self._scaling_factor()
        taken, *others = self._readers(role)
        taken(self._dtype)
        for copy in others:
            copy(torch.float32)

    def tensors(self, role: str) -> Tensors:
        """Read the tensors of a part, checked for storage in the precision of the pack. Raises CheckpointError."""
        return self._readers(role)[0](self._dtype)

    def _readers(self, role: str) -> list[Callable[[torch.dtype], Tensors]]:
        """Return functions that read and check each copy of a part; the first copy is the one to use."""
        part, kind, sizes = self._parts[role], _SOURCE_FILES.get(role), self._sizes
        own: Path | None = getattr(self._files, kind) if kind is not None else None
        copies: list[Callable[[torch.dtype], Tensors]] = []
        if kind is not None and own is not None:
            copies.append(lambda dtype: read_part(part, kind, read_source(kind, own), sizes, dtype))
        elif (folder := self._folder) is not None and role in folder.roles():
            copies.append(lambda dtype: folder.tensors(role, sizes, dtype))
        copies += [partial(part.match_tensors, sizes, copy) for copy in self._rewas.parts_by_role.get(role, ())]
        if not copies:
            if kind is not None:
                raise missing_file_error(kind)
            raise self._rewas.source.error(f"does not contain {self.title(role)}", "its tensors")
        return copies

    def sources(self) -> dict[str, str]:
        """Return the names of the converted files by option."""
        return {name: Path(path).name for name, path in asdict(self._files).items() if path is not None}

    def write(self, role: str, folder: Path) -> None:
        module: Any = self._sizes.build_on_meta(role)
        if role == "codec":
            module.register_to_config(scaling_factor=self._scaling_factor())
        folder.mkdir(parents=True)
        (folder / CONFIG_FILE).write_text(config_json(module), "utf-8")
        tensors = self.tensors(role)
        save_weights({name: self._cast(tensors[name]) for name in tensors}, folder)

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        return (tensor.to(self._dtype) if tensor.is_floating_point() else tensor).contiguous()

    def _scaling_factor(self) -> float:
        factor = self._rewas.scale_factor
        if factor is None and self._folder is not None:
            factor = self._folder.scaling_factor()
        if factor is None:
            raise self._rewas.source.error("has no scale_factor", "the scaling factor of its latents")
        return factor


def _description(name: str, conversion: _Conversion, sizes: ReleasedSizes, token_times: str) -> Mapping[str, object]:
    released_times = token_times == "released"
    return {
        "name": name,
        "version": "1.0.0",
        "summary": "ReWaS on AudioLDM-M, converted from the officially released checkpoints.",
        "licence": LICENCE,
        "permits": PERMITS,
        "family": "audioldm",
        "controls": list(supported_controls(sizes.build_on_meta("adapter"))),
        "components": _CLASS_NAMES,
        "audio": asdict(MelConfig()),
        "window": {"frames": 512, "overlap_frames": 128, "patch": 4},
        "sampling": {
            **RELEASED_SAMPLING,
            "num_steps": DEFAULT_NUM_STEPS,
            "sampler": "dpm++",
            "ddim_steps": RELEASED_SAMPLING["num_steps"],
            "precision": "auto",
            "codec_precision": "auto",
        },
        "picture": {
            "frame_rate": "25",
            "width": sizes.frame_size_px,
            "height": sizes.frame_size_px,
            # The release uses five seconds of video for 5.12 seconds of sound.
            "window_frames": 128 if released_times else 125,
            "overlap_frames": 32,
            "colours": True,
            "short_side": sizes.frame_size_px * 256 // 224,
            "precision": "auto",
            "token_times": token_times,
            **({} if released_times else {"smoothing_frames": 11}),
        },
        "sources": conversion.sources(),
    }
