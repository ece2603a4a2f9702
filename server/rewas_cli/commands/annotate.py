"""`rewas annotate`: sentences about the picture and the sound of clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.prompt_options import PROMPTS_PANEL, MarkersOption, prompt_options
from rewas_cli.commands.shared_options import (
    DESCRIPTION_PANEL,
    OUTPUT_PANEL,
    DeviceOption,
    JsonOption,
    LanguageModelOption,
    PackOption,
    PictureModelOption,
    SoundModelOption,
)
from rewas_cli.commands.timeline_options import (
    MediaPathsOption,
    PathMapOption,
    RateOption,
    SearchFolderOption,
    TimelineNameOption,
    VisibleOption,
    read_options,
    resolve_options,
)
from rewas_cli.console import FAILED_WORK, SUCCESS, Printer, cancel_on_ctrl_c, note, progress_bar, protect_stdout

DEFAULT_MARKERS, DEFAULT_VISIBLE = "labelled", "topmost"

if TYPE_CHECKING:
    from rewas_cli.commands.annotate_timeline import Described
    from rewas_engine.annotation.annotator import Annotator
    from rewas_engine.annotation.stages import LanguageModel
    from rewas_engine.pipeline import ReWaS
    from rewas_engine.runtime.progress import CancelSignal

EXAMPLES = """\
rewas annotate shots/ --output shots.json --csv shots.csv
rewas annotate shot.mp4 --picture-model models/blip2 --language-model models/llm --json
rewas annotate shots/ --language-server http://127.0.0.1:8080/v1 --language-name llama
rewas annotate cut.otio --output cut-described.otio
"""


def annotate(
    context: typer.Context,
    clips: Annotated[
        list[Path],
        typer.Argument(
            metavar="CLIPS", help="Video files and folders of them, or one timeline.", exists=True, show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the annotations to this JSON file or, for a timeline, the timeline with its prompts to this "
            "file. Run again with the same file to continue.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            dir_okay=False,
            help="Also write the sentences to this CSV file.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Describe all clips of the timeline, and replace their prompts.",
            rich_help_panel=PROMPTS_PANEL,
        ),
    ] = False,
    markers: MarkersOption = DEFAULT_MARKERS,
    rate: RateOption = None,
    timeline_name: TimelineNameOption = None,
    visible: VisibleOption = DEFAULT_VISIBLE,
    search_folders: SearchFolderOption = None,
    path_maps: PathMapOption = None,
    media_paths: MediaPathsOption = None,
    no_sound: Annotated[
        bool,
        typer.Option("--no-sound", help="Do not describe the clips' own sounds.", rich_help_panel=DESCRIPTION_PANEL),
    ] = False,
    picture_model: PictureModelOption = None,
    sound_model: SoundModelOption = None,
    language_model: LanguageModelOption = None,
    language_server: Annotated[
        str | None,
        typer.Option(
            "--language-server",
            metavar="URL",
            help="Instead of --language-model: a server with OpenAI's interface, such as http://127.0.0.1:8080/v1.",
            rich_help_panel=DESCRIPTION_PANEL,
        ),
    ] = None,
    language_name: Annotated[
        str,
        typer.Option(
            "--language-name",
            metavar="NAME",
            help="Name of the model on the language server.",
            rich_help_panel=DESCRIPTION_PANEL,
        ),
    ] = "default",
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Allow a language server on another computer. It receives the descriptions of the clips.",
            rich_help_panel=DESCRIPTION_PANEL,
        ),
    ] = False,
    pack: PackOption = None,
    device: DeviceOption = "auto",
) -> int:
    """Describe the picture and the sound of video clips, and suggest a prompt for each.

    From a timeline, the command describes each clip without a prompt in the range that it shows, and writes the
    timeline with the prompts in metadata["rewas"].
    """
    from rewas_cli.annotations import AnnotationRecord
    from rewas_cli.commands.annotate_timeline import TimelineAnnotation, is_timeline, record_path
    from rewas_engine.pipeline import ReWaS
    from rewas_server.otio.planning import FindOptions
    from rewas_server.work.context import raise_if_cancelled

    def load(cancel: CancelSignal) -> Annotator:
        language = _language_stage(language_model, language_server, language_name, allow_remote, device)
        raise_if_cancelled(cancel)
        model = ReWaS.from_pretrained(pack or "starter", device=device)
        return _annotator(model, picture_model, sound_model, language, no_sound, device, cancel)

    if not any(map(is_timeline, clips)):
        _refuse_timeline_options(
            {
                "--replace": replace,
                "--markers": _is_given(context, "markers"),
                "--visible": _is_given(context, "visible"),
                "--media-paths": media_paths,
                "--rate": rate,
                "--timeline": timeline_name,
                "--search-folder": search_folders,
                "--path-map": path_maps,
            }
        )
        files = find_clips(clips)
        with protect_stdout(), cancel_on_ctrl_c() as cancel:
            described = _annotate_files(files, load(cancel), output, csv, cancel)
        Printer(as_json).result(described.report, described.lines)
        return FAILED_WORK if described.has_failed else SUCCESS
    file, written = clips[0], _timeline_output(clips, output, csv)
    job = TimelineAnnotation(
        file,
        read_options(rate, timeline_name),
        FindOptions(
            visible, prompt_options(None, None, markers, None), resolve_options(file, search_folders, path_maps)
        ),
        written,
        media_paths,
        replace,
    )
    job.check()
    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        described = job.run(load, lambda stages: AnnotationRecord(record_path(written), stages.stage_names), cancel)
    Printer(as_json).result(described.report, described.lines)
    return FAILED_WORK if described.has_failed else SUCCESS


def _annotate_files(
    files: list[Path], annotator: Annotator, output: Path | None, csv: Path | None, cancel: CancelSignal
) -> Described:
    """Annotate whole files."""
    from rewas_cli.annotations import AnnotationRecord, table
    from rewas_cli.commands.annotate_timeline import Described
    from rewas_engine.errors import MediaError
    from rewas_engine.media.clip import VideoClip
    from rewas_engine.runtime.atomic_files import write_text_atomic
    from rewas_engine.runtime.progress import Progress

    record = AnnotationRecord(output, annotator.stage_names)
    record.read_earlier()
    with progress_bar("annotate") as report:
        for number, path in enumerate(files):
            report(Progress(path.name, number, len(files), number / len(files)))
            if record.reuse(VideoClip(path)) is not None:
                continue
            try:
                record.add(VideoClip(path), annotator.annotate(VideoClip(path), cancel))
            except MediaError as error:
                record.add_failed(path, error.what)
    record.write()
    if csv is not None:
        write_text_atomic(csv, table(record.rows))
    for failure in record.failed:
        note(f"left out: {failure['file']}: {failure['reason']}")
    lines = [f"{row['file']}: {row['description'] or 'nothing known matches it'}" for row in record.rows]
    counts = record.report()["statistics"]
    lines.append(
        f"{counts['clips']} of {len(files)} clips described, {counts['hours'] * 3600:.0f} s, "
        f"{counts['sentences']:.2f} sentences and {counts['words']:.1f} words per clip."
    )
    return Described(record.report(), lines, bool(record.failed) and not record.rows)


def _timeline_output(clips: list[Path], output: Path | None, csv: Path | None) -> Path:
    """Return the timeline to write. Raises ProblemError (SETTINGS) if the arguments do not fit a timeline."""
    from rewas_api.errors import ProblemError, ProblemKind
    from rewas_cli.commands.annotate_timeline import is_timeline

    timelines = sum(map(is_timeline, clips))
    if len(clips) > 1:
        others = len(clips) - timelines
        raise ProblemError(
            f"{timelines} timelines are given." if others == 0 else "A timeline and other files are given together.",
            "Give one timeline, or only clips.",
            ProblemKind.SETTINGS,
        )
    if csv is not None:
        raise ProblemError(
            "--csv has no effect on a timeline.",
            "Omit it, or write a spotting sheet with `rewas timeline sheet`.",
            ProblemKind.SETTINGS,
        )
    if output is None:
        raise ProblemError(
            "The timeline to write is not given.",
            f"Give one with --output, such as {clips[0].stem}-described.otio.",
            ProblemKind.SETTINGS,
        )
    return output


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether the user has set an option, even to its default value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _refuse_timeline_options(options: Mapping[str, object]) -> None:
    """Raise ProblemError (SETTINGS) if one of the options is set."""
    from rewas_api.errors import ProblemError, ProblemKind

    given = [name for name, value in options.items() if value]
    if given:
        raise ProblemError(
            f"{given[0]} applies only to timelines, and none is given.",
            f"Give a timeline, or omit {' and '.join(given)}.",
            ProblemKind.SETTINGS,
        )


def find_clips(places: list[Path]) -> list[Path]:
    """List video files and the video files in folders, each once, in the given order.

    Raises:
        ProblemError: There are none.
    """
    from rewas_api.errors import ProblemError, ProblemKind
    from rewas_engine.training.dataset_clips import list_videos

    found: dict[Path, None] = {}
    for place in places:
        found.update(dict.fromkeys(list_videos(place) if place.is_dir() else [place]))
    if not found:
        named = ", ".join(str(place) for place in places)
        raise ProblemError(f"There are no video files in {named}.", "Give video files.", ProblemKind.MEDIA)
    return list(found)


def _language_stage(
    folder: Path | None, url: str | None, name: str, may_be_remote: bool, device: str
) -> LanguageModel | None:
    from rewas_api.errors import ProblemError, ProblemKind

    if folder is not None and url is not None:
        raise ProblemError(
            "--language-model and --language-server are both given.", "Give one of them.", ProblemKind.SETTINGS
        )
    if url is not None:
        from rewas_engine.annotation.language_server import LanguageServer

        return LanguageServer(url, name, may_be_remote)
    if folder is None:
        return None
    from rewas_engine.annotation.opening import open_language_model
    from rewas_engine.runtime.devices import resolve_device

    return open_language_model(folder, resolve_device(device))


def _annotator(
    model: ReWaS,
    picture_folder: Path | None,
    sound_folder: Path | None,
    language: LanguageModel | None,
    no_sound: bool,
    device: str,
    cancel: CancelSignal,
) -> Annotator:
    """Load the models of the stages. Raises Cancelled between two of them."""
    from rewas_engine.annotation.opening import build_annotator, open_picture_model, open_sound_model
    from rewas_engine.runtime.devices import resolve_device
    from rewas_server.work.context import raise_if_cancelled

    place = resolve_device(device)
    raise_if_cancelled(cancel)
    picture = None if picture_folder is None else open_picture_model(picture_folder, place)
    raise_if_cancelled(cancel)
    sound = None if sound_folder is None or no_sound else open_sound_model(sound_folder, place)
    raise_if_cancelled(cancel)
    return build_annotator(model, picture, sound, language, hears=not no_sound)
