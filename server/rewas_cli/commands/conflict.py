"""`rewas conflict`: whether words and picture contradict each other."""

from __future__ import annotations

from typing import Annotated

import typer

from rewas_cli.commands.shared_options import (
    ClipArgument,
    ConflictModelOption,
    DurationOption,
    JsonOption,
    PackOption,
    ServerOption,
    StartOption,
    otio_clip,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar, protect_stdout


def conflict(
    clip: ClipArgument,
    prompt: Annotated[str, typer.Option("--prompt", "-p", metavar="TEXT", help="The words to hold against it.")],
    start: StartOption = None,
    duration: DurationOption = None,
    pack: PackOption = None,
    conflict_model: ConflictModelOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a prompt and a clip's picture contradict each other."""
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.reports import conflict_lines, conflict_report
    from rewas_cli.runner import find_media_file, open_runner, uploaded_media

    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        media = find_media_file(clip)
        clip_json = otio_clip(media, start, duration).to_json_string()
        with open_runner(server, conflict_model=conflict_model) as runner, progress_bar(media.name) as on_progress:
            work = rewas_pb2.ConflictWork(
                clip_otio_json=clip_json, prompt=prompt, pack=pack, uploaded_media=uploaded_media(runner, media, cancel)
            )
            outcome = runner.run(work, media.parent, on_progress, cancel)
        assert isinstance(outcome.result, rewas_pb2.ConflictResult)
        report = conflict_report(outcome.result, prompt, media)
    first, *more = conflict_lines(report)
    Printer(as_json).result(report, [f"{media.name}, “{prompt}”: {first}", *more])
