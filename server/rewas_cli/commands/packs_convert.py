"""`rewas packs convert`: packs from checkpoints that others released."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import JsonOption
from rewas_cli.console import Printer, cancel_on_ctrl_c, conversion_bar, note, protect_stdout

convert = typer.Typer(no_args_is_help=True, help="Make a pack from checkpoints that others released.")


def _file(option: str, words: str) -> object:
    return typer.Option(option, metavar="FILE", help=words)


@convert.callback()
def _group() -> None:
    """Make a pack from checkpoints that others released."""


@convert.command("rewas")
def convert_rewas(
    rewas: Annotated[Path, _file("--rewas-ckpt", "Adapter and denoiser: audioldm_m_rewas_vggsound.ckpt.")],
    phi: Annotated[Path, _file("--phi", "The energy estimator: phi_vggsound.ckpt.")],
    synchformer: Annotated[Path, _file("--synchformer", "The video encoder: 24-01-04T16-39-21.pt.")],
    vae: Annotated[Path | None, _file("--vae", "The VAE: vae_mel_16k_64bins.ckpt.")] = None,
    vocoder: Annotated[Path | None, _file("--vocoder", "The vocoder: hifigan_16k_64bins.ckpt.")] = None,
    clap: Annotated[Path | None, _file("--clap", "The text encoder: clap_music_speech_audioset_…pt.")] = None,
    audioldm: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="AudioLDM-M in diffusers layout, in place of the parts that it holds."),
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option(metavar="DIR", help="RoBERTa's tokenizer.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The pack's new folder; else among your own packs."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the stored weights: fp32, fp16 or bf16.")] = "fp32",
    token_times: Annotated[
        str,
        typer.Option(
            help="Where the energy of a moment is put: at the moment itself (centres), or as the release lays it out, "
            "up to half a second off (released)."
        ),
    ] = "centres",
    size: Annotated[str, typer.Option(hidden=True, help="released, or small for synthetic checkpoints.")] = "released",
    as_json: JsonOption = False,
) -> None:
    """Convert the officially released checkpoints of ReWaS. Their licence permits non-commercial use only."""
    with protect_stdout(), cancel_on_ctrl_c() as cancel, conversion_bar() as show:
        from rewas_engine import Cancelled, SettingsError
        from rewas_engine.conversion.released import (
            LICENCE,
            PERMITS,
            RELEASED_PACK,
            ReleasedFiles,
            convert_released,
        )
        from rewas_engine.conversion.sizes import RELEASED, SMALL
        from rewas_engine.packs.library import user_folder
        from rewas_engine.runtime.progress import Progress

        sizes = {"released": RELEASED, "small": SMALL}.get(size)
        if sizes is None:
            raise SettingsError(f"There are no networks of the size {size!r}.", "Choose released or small.")

        def report(progress: Progress) -> None:
            if cancel.is_set():
                raise Cancelled
            show(progress.stage, progress.step, progress.total_steps)

        note(f"The pack will be under {LICENCE}. {PERMITS}")
        files = ReleasedFiles(rewas, phi, synchformer, vae, vocoder, clap, audioldm, tokenizer)
        folder = (output or user_folder() / RELEASED_PACK).absolute()
        pack = convert_released(files, folder, dtype=dtype, token_times=token_times, sizes=sizes, on_progress=report)
    printed = {"name": pack.name, "path": str(pack), "licence": LICENCE, "permits": PERMITS}
    Printer(as_json).result(printed, [f"Converted into {pack} ({LICENCE}).", f"    {PERMITS}"])
