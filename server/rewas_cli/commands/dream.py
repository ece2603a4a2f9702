"""`rewas dream`: a short video with sound from a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import OUTPUT_PANEL, JsonOption
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar

EXAMPLES = 'rewas dream "a hammer knocks on wood" --model training-runs/tavd/model --output shot.mp4'
_SAMPLING_PANEL = "Sampling"


def dream(
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE", help="What is seen and heard.", show_default=False)],
    model: Annotated[
        Path,
        typer.Option(
            "--model", metavar="DIR", file_okay=False, help="A model from rewas train tavd.", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="The MP4 file to write.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    height: Annotated[
        int,
        typer.Option(
            "--height",
            metavar="PIXELS",
            min=32,
            max=1024,
            help="Height of the video. The model's small frames are enlarged to it.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = 256,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed of the noise.", rich_help_panel=_SAMPLING_PANEL)
    ] = 0,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, help="Number of DDIM steps.", rich_help_panel=_SAMPLING_PANEL)
    ] = 50,
    guidance: Annotated[
        float,
        typer.Option(
            "--guidance",
            metavar="SCALE",
            min=0.0,
            help="How closely to follow the sentence.",
            rich_help_panel=_SAMPLING_PANEL,
        ),
    ] = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Generate a short video with sound from a sentence, using a model from `rewas train tavd`."""
    from rewas_engine.audible_video.model import AudibleVideo
    from rewas_engine.media.audible_clip import write_audible_clip
    from rewas_engine.runtime.progress import Progress

    with cancel_on_ctrl_c() as cancel, progress_bar("dream") as report:
        clip = AudibleVideo(model).dream(
            sentence,
            seed=seed,
            num_steps=steps,
            guidance_scale=guidance,
            on_step=lambda done, total: report(Progress("sample", done, total, done / total)),
            cancel=cancel,
        )
    write_audible_clip(output, clip.frames, clip.frame_rate, clip.waveform, clip.sample_rate_hz, height=height)
    duration_s = clip.waveform.size / clip.sample_rate_hz
    result = {"file": str(output), "frames": len(clip.frames), "duration_s": duration_s, "seed": seed}
    Printer(as_json).result(result, [f"{output}: {len(clip.frames)} frames, {duration_s:.2f} s with sound."])
