"""`rewas conflict`: whether a prompt contradicts the video."""

from __future__ import annotations

from typing import Annotated

import typer

from rewas_cli.commands.shared_options import (
    CONFLICT_PANEL,
    PROMPT_PANEL,
    AvhModelOption,
    ClipArgument,
    ConflictModelOption,
    DeviceOption,
    DurationOption,
    JsonOption,
    PackOption,
    ServerOption,
    StartOption,
    build_execution,
    otio_clip,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar, protect_stdout

EXAMPLES = """\
rewas conflict shot.mp4 --prompt "a dog barks"
rewas conflict shot.mp4 --prompt "a dog barks" --conflict-model models/clip --json
rewas conflict shot.mp4 --prompt "a dog barks" --avh
"""


def conflict(
    clip: ClipArgument,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt",
            "-p",
            metavar="TEXT",
            help="The prompt to compare with the video.",
            rich_help_panel=PROMPT_PANEL,
        ),
    ],
    start: StartOption = None,
    duration: DurationOption = None,
    conflict_model: ConflictModelOption = None,
    avh: Annotated[
        bool,
        typer.Option(
            "--avh",
            help="Also measure AVHScore: how well the clip's own sound fits its frames.",
            rich_help_panel=CONFLICT_PANEL,
        ),
    ] = False,
    avh_model: AvhModelOption = None,
    as_json: JsonOption = False,
    pack: PackOption = None,
    device: DeviceOption = "auto",
    server: ServerOption = None,
) -> None:
    """Check whether a prompt contradicts the video."""
    from rewas_api.errors import ProblemError, ProblemKind
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.reports import conflict_lines, conflict_report
    from rewas_cli.runner import find_media_file, open_runner, uploaded_media

    if not prompt.strip():
        raise ProblemError(f'The clip "{clip.name}" has an empty prompt.', "Describe the sound.", ProblemKind.SETTINGS)
    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        build_execution(None, False, False, server, device)
        media = find_media_file(clip)
        clip_json = otio_clip(media, start, duration).to_json_string()
        with (
            open_runner(server, None, conflict_model, device, avh_model) as runner,
            progress_bar(media.name) as on_progress,
        ):
            work = rewas_pb2.ConflictWork(
                clip_otio_json=clip_json,
                prompt=prompt,
                pack=pack,
                uploaded_media=uploaded_media(runner, media, cancel),
            )
            if avh:
                work.measure_avh = True
            outcome = runner.run(work, media.parent, on_progress, cancel)
        assert isinstance(outcome.result, rewas_pb2.ConflictResult)
        report = conflict_report(outcome.result, prompt, media)
    first, *more = conflict_lines(report)
    Printer(as_json).result(report, [f"{media.name}, “{prompt}”: {first}", *more])
