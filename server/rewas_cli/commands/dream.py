"""`rewas dream`: a short video with sound from a sentence."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import OUTPUT_PANEL, JsonOption, ServerOption
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar, protect_stdout
from rewas_engine.checks import (
    DEFAULT_VIDEO_GUIDANCE,
    DEFAULT_VIDEO_HEIGHT_PIXELS,
    DEFAULT_VIDEO_STEPS,
    MAX_FRAME_RATE,
    MAX_VIDEO_HEIGHT_PIXELS,
    MIN_FRAME_RATE,
    MIN_VIDEO_HEIGHT_PIXELS,
)

EXAMPLES = """\
rewas dream "a hammer knocks on wood" --model training-runs/tavd/model --output shot.mp4
rewas dream "a hammer knocks on wood" --server 127.0.0.1:50071 --output shot.mp4
"""
_SAMPLING_PANEL = "Sampling"


def dream(
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE", help="What is seen and heard.", show_default=False)],
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
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="DIR",
            file_okay=False,
            help="A model from rewas train tavd. A server uses its own.",
            show_default=False,
        ),
    ] = None,
    height: Annotated[
        int,
        typer.Option(
            "--height",
            metavar="PIXELS",
            min=MIN_VIDEO_HEIGHT_PIXELS,
            max=MAX_VIDEO_HEIGHT_PIXELS,
            help="Height of the video. The model's small frames are enlarged to it.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = DEFAULT_VIDEO_HEIGHT_PIXELS,
    frame_rate: Annotated[
        str | None,
        typer.Option(
            "--frame-rate",
            metavar="FPS",
            help="Frames per second of the video, such as 24 or 24000/1001; the frames of the model are held. By "
            "default, the model's own rate.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed of the noise.", rich_help_panel=_SAMPLING_PANEL)
    ] = 0,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, help="Number of DDIM steps.", rich_help_panel=_SAMPLING_PANEL)
    ] = DEFAULT_VIDEO_STEPS,
    guidance: Annotated[
        float,
        typer.Option(
            "--guidance",
            metavar="SCALE",
            min=0.0,
            help="How closely to follow the sentence.",
            rich_help_panel=_SAMPLING_PANEL,
        ),
    ] = DEFAULT_VIDEO_GUIDANCE,
    sound_lag: Annotated[
        float | None,
        typer.Option(
            "--sound-lag",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="How far the sound is behind the video, as a share of the steps. By default, as the model says.",
            rich_help_panel=_SAMPLING_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
) -> None:
    """Generate a short video with sound from a sentence, using a model from `rewas train tavd`."""
    from rewas_api.errors import ProblemError, ProblemKind
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.runner import check_model_folder, open_runner
    from rewas_server.work.translation import rational

    if (model is None) == (server is None):
        raise ProblemError(
            "Either --model or --server is needed.",
            "Give the folder of a model from rewas train tavd, or the address of a server that has one.",
            ProblemKind.SETTINGS,
        )
    if model is not None:
        check_model_folder(model, "--model")
    work = rewas_pb2.AudibleVideoWork(
        prompt=sentence,
        seed=seed,
        num_inference_steps=steps,
        guidance_scale=guidance,
        sound_lag=sound_lag,
        height_pixels=height,
        frame_rate=None if frame_rate is None else rational(_read_rate(frame_rate)),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        protect_stdout(),
        cancel_on_ctrl_c() as cancel,
        # In the same folder, so that the finished file only has to be renamed.
        tempfile.TemporaryDirectory(prefix=".rewas-", dir=output.parent) as folder,
    ):
        with open_runner(server, video_model=model) as runner, progress_bar("dream") as on_progress:
            outcome = runner.run(work, Path(folder), on_progress, cancel)
        made = outcome.result
        assert isinstance(made, rewas_pb2.AudibleVideoResult)
        outcome.stem_paths[made.file.name].replace(output)
    duration_s = float(Fraction(made.duration_s.numerator, made.duration_s.denominator))
    result = {"file": str(output), "frames": made.frames, "duration_s": duration_s, "seed": made.seed}
    Printer(as_json).result(result, [f"{output}: {made.frames} frames, {duration_s:.2f} s with sound."])


def _read_rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not MIN_FRAME_RATE <= rate <= MAX_FRAME_RATE:
        raise typer.BadParameter(
            f"{text} is not a frame rate from {MIN_FRAME_RATE} to {MAX_FRAME_RATE}.", param_hint="--frame-rate"
        )
    return rate
