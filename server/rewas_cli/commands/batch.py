"""`rewas batch`: sound for every clip of a timeline that has a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.shared_options import (
    OUTPUT_PANEL,
    CompileOption,
    ConflictModelOption,
    DeviceOption,
    JsonOption,
    LevelOption,
    LowMemoryOption,
    PackOption,
    PrecisionOption,
    SampleRateOption,
    ServerOption,
    build_execution,
)
from rewas_cli.console import FAILED_WORK, SUCCESS, Printer, cancel_on_ctrl_c, progress_bar, protect_stdout

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    import opentimelineio as otio

    from rewas_cli.runner import Outcome, Runner
    from rewas_server.otio.clips import PromptedClip


_DEFAULTS_PANEL = "Defaults for clips without their own setting"
EXAMPLES = """\
rewas batch cut.otio --output cut-with-sound.otio --stems stems/
rewas batch cut.otio --output cut-with-sound.otio --stems stems/ --takes 3 --steps 25 --seed 7
"""


def batch(
    timeline: Annotated[
        Path, typer.Argument(metavar="TIMELINE", help="The timeline, in any format that OpenTimelineIO reads.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The timeline to write (.otio).", rich_help_panel=OUTPUT_PANEL
        ),
    ],
    stems: Annotated[
        Path,
        typer.Option(
            "--stems", metavar="DIR", file_okay=False, help="The folder for the stems.", rich_help_panel=OUTPUT_PANEL
        ),
    ],
    sample_rate: SampleRateOption = None,
    level: LevelOption = None,
    as_json: JsonOption = False,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Seed of the first take.", rich_help_panel=_DEFAULTS_PANEL)
    ] = None,
    takes: Annotated[
        int | None, typer.Option("--takes", metavar="N", help="Number of takes.", rich_help_panel=_DEFAULTS_PANEL)
    ] = None,
    num_steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", help="Number of inference steps.", rich_help_panel=_DEFAULTS_PANEL),
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option("--guidance-scale", metavar="X", help="Guidance scale.", rich_help_panel=_DEFAULTS_PANEL),
    ] = None,
    control_strength: Annotated[
        float | None,
        typer.Option(
            "--control-strength",
            metavar="X",
            help="How strongly the energy steers the sound, 0 to 2.",
            rich_help_panel=_DEFAULTS_PANEL,
        ),
    ] = None,
    conflict: Annotated[
        str | None,
        typer.Option(
            "--conflict",
            metavar="off|warn|soften|refuse",
            help="What to do if the prompt contradicts the video.",
            autocompletion=complete_from("off", "warn", "soften", "refuse"),
            rich_help_panel=_DEFAULTS_PANEL,
        ),
    ] = None,
    conflict_model: ConflictModelOption = None,
    pack: PackOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = None,
    compiled: CompileOption = False,
    low_memory: LowMemoryOption = False,
    server: ServerOption = None,
) -> int:
    """Generate sound for each clip with a prompt in metadata["rewas"], and add the stems on new audio tracks.

    A clip that fails does not stop the others. It is reported at the end, and the exit code is then 1.
    """
    from rewas_api.clip_settings import ClipSettings
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.reports import timeline_clip_report, timeline_lines
    from rewas_cli.runner import open_runner
    from rewas_server.files.output_paths import check_folder_writable
    from rewas_server.otio.files import check_writable, make_media_absolute, read_timeline
    from rewas_server.work.requests import name_clip_in_settings_errors, parse_timeline_request

    with name_clip_in_settings_errors("The timeline's defaults"):
        defaults = ClipSettings(
            pack=pack,
            seed=seed,
            takes=takes,
            num_inference_steps=num_steps,
            guidance_scale=guidance_scale,
            control_strength=control_strength,
            sample_rate_hz=sample_rate,
            conflict_policy=conflict,
            level=level,
        )
    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        execution = build_execution(precision, compiled, low_memory, server, device)
        check_writable(output)
        check_folder_writable(stems)
        original = read_timeline(timeline)
        absolute = make_media_absolute(original, timeline.parent)
        with (
            open_runner(server, execution, conflict_model, device) as runner,
            progress_bar(original.name) as on_progress,
        ):
            work = rewas_pb2.TimelineWork(timeline_otio_json=absolute.to_json_string(), defaults=defaults.to_proto())
            work.uploaded_media.update(_upload_media(parse_timeline_request(work).clips, runner, cancel))
            outcome = runner.run(work, stems.absolute(), on_progress, cancel)
        assert isinstance(outcome.result, rewas_pb2.TimelineResult)
        same_folder = output.parent.resolve() == timeline.parent.resolve()
        _write(outcome, output, original if same_folder else None)
        clips = [timeline_clip_report(clip, outcome.stem_paths) for clip in outcome.result.clips]
    report = {"timeline": str(output.absolute()), "stems": str(stems.absolute()), "clips": clips}
    Printer(as_json).result(report, timeline_lines(clips, output))
    return FAILED_WORK if any(clip["problem"] for clip in clips) else SUCCESS


def _upload_media(clips: Sequence[PromptedClip], runner: Runner, cancel: threading.Event) -> dict[str, str]:
    """Upload the media of all clips if the server cannot read it. Missing media is reported before any work."""
    from rewas_cli.runner import find_media_file
    from rewas_server.files.media import local_path
    from rewas_server.work.requests import name_clip_in_location_errors

    uploaded: dict[str, str] = {}
    for clip in clips:
        url = clip.source.target_url
        with name_clip_in_location_errors(clip.source.name):
            media = find_media_file(local_path(url), clip.source.name)
        if url not in uploaded:
            sha256 = runner.share(media, cancel)
            if sha256 is not None:
                uploaded[url] = sha256
    return uploaded


def _write(outcome: Outcome, output: Path, original: otio.schema.Timeline | None) -> None:
    """Write the timeline. If that fails, delete its stems too."""
    from rewas_cli.runner import list_artifacts
    from rewas_server.otio.clips import parse_timeline
    from rewas_server.otio.files import relink_stems, restore_media, write_timeline

    try:
        finished = parse_timeline(outcome.result.timeline_otio_json)  # type: ignore[union-attr]
        here = {artifact.path: outcome.stem_paths[artifact.name] for artifact in list_artifacts(outcome.result)}
        relink_stems(finished, here)
        if original is not None:
            restore_media(finished, original)
        write_timeline(finished, output)
    except BaseException:
        for path in outcome.stem_paths.values():
            path.unlink(missing_ok=True)
        raise
