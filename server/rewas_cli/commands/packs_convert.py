"""`rewas packs convert`: packs from released checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.help_pages import Command, Group
from rewas_cli.commands.shared_options import OUTPUT_PANEL, JsonOption
from rewas_cli.console import Printer, cancel_on_ctrl_c, conversion_bar, note, protect_stdout

convert = typer.Typer(cls=Group, no_args_is_help=True, help="Convert released checkpoints into a pack.")


_CHECKPOINTS_PANEL = "Checkpoints"
EXAMPLES = """\
rewas packs convert rewas --rewas-ckpt adapter.ckpt --phi phi.ckpt --synchformer video.pt --audioldm audioldm-m/
"""


def _file_option(option: str, description: str) -> object:
    return typer.Option(option, metavar="FILE", help=description, rich_help_panel=_CHECKPOINTS_PANEL)


@convert.callback()
def _group() -> None:
    """Convert released checkpoints into a pack."""


@convert.command("rewas", cls=Command, epilog=EXAMPLES)
def convert_rewas(
    rewas: Annotated[Path, _file_option("--rewas-ckpt", "Adapter and denoiser: audioldm_m_rewas_vggsound.ckpt.")],
    phi: Annotated[Path, _file_option("--phi", "The energy estimator: phi_vggsound.ckpt.")],
    synchformer: Annotated[Path, _file_option("--synchformer", "The video encoder: 24-01-04T16-39-21.pt.")],
    vae: Annotated[Path | None, _file_option("--vae", "The VAE: vae_mel_16k_64bins.ckpt.")] = None,
    vocoder: Annotated[Path | None, _file_option("--vocoder", "The vocoder: hifigan_16k_64bins.ckpt.")] = None,
    clap: Annotated[Path | None, _file_option("--clap", "The text encoder: clap_music_speech_audioset_…pt.")] = None,
    audioldm: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="AudioLDM-M in diffusers layout, instead of --vae, --vocoder, --clap and --tokenizer.",
            rich_help_panel=_CHECKPOINTS_PANEL,
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder with the tokenizer of RoBERTa.", rich_help_panel=_CHECKPOINTS_PANEL),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The folder of the new pack; among your own packs by default.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(metavar="fp32|fp16|bf16", help="Precision of the stored weights.", rich_help_panel=OUTPUT_PANEL),
    ] = "fp32",
    token_times: Annotated[
        str,
        typer.Option(
            metavar="centres|released",
            help="The time of each video token: the centre of its frames (centres), or as in the release, which is up "
            "to half a second off (released).",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = "centres",
    size: Annotated[str, typer.Option(hidden=True, help="released, or small for synthetic checkpoints.")] = "released",
    as_json: JsonOption = False,
) -> None:
    """Convert the officially released ReWaS checkpoints, which are for non-commercial use only."""
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
            raise SettingsError(f"Unknown network size {size!r}.", "Use released or small.")

        def report(progress: Progress) -> None:
            if cancel.is_set():
                raise Cancelled
            show(progress)

        note(f"The pack will be under {LICENCE}. {PERMITS}")
        files = ReleasedFiles(rewas, phi, synchformer, vae, vocoder, clap, audioldm, tokenizer)
        folder = (output or user_folder() / RELEASED_PACK).absolute()
        pack = convert_released(files, folder, dtype=dtype, token_times=token_times, sizes=sizes, on_progress=report)
    printed = {"name": pack.name, "path": str(pack), "licence": LICENCE, "permits": PERMITS}
    Printer(as_json).result(printed, [f"Converted to {pack} ({LICENCE}).", f"    {PERMITS}"])
