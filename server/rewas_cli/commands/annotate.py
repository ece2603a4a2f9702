"""`rewas annotate`: sentences about the picture and the sound of clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.shared_options import OUTPUT_PANEL, DeviceOption, JsonOption, PackOption
from rewas_cli.console import FAILED_WORK, SUCCESS, Printer, cancel_on_ctrl_c, note, progress_bar, protect_stdout

if TYPE_CHECKING:
    from rewas_engine.annotation.annotator import Annotator
    from rewas_engine.annotation.stages import LanguageModel
    from rewas_engine.pipeline import ReWaS

EXAMPLES = """\
rewas annotate shots/ --output shots.json --csv shots.csv
rewas annotate shot.mp4 --picture-model models/blip2 --language-model models/llm --json
rewas annotate shots/ --language-server http://127.0.0.1:8080/v1 --language-name llama
"""
_MODELS_PANEL = "Models"


def annotate(
    clips: Annotated[
        list[Path],
        typer.Argument(metavar="CLIPS", help="Video files, and folders of them.", exists=True, show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="Write all annotations to this JSON file. A later run with the same file continues.",
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
    no_sound: Annotated[
        bool, typer.Option("--no-sound", help="Do not describe the clips' own sounds.", rich_help_panel=_MODELS_PANEL)
    ] = False,
    picture_model: Annotated[
        Path | None,
        typer.Option(
            "--picture-model",
            metavar="DIR",
            file_okay=False,
            help="An image-to-text model, such as BLIP-2; by default, the labels that the pack knows.",
            rich_help_panel=_MODELS_PANEL,
        ),
    ] = None,
    sound_model: Annotated[
        Path | None,
        typer.Option(
            "--sound-model",
            metavar="DIR",
            file_okay=False,
            help="An audio-to-text model that describes sounds; by default, the labels that the pack knows.",
            rich_help_panel=_MODELS_PANEL,
        ),
    ] = None,
    language_model: Annotated[
        Path | None,
        typer.Option(
            "--language-model",
            metavar="DIR",
            file_okay=False,
            help="A language model that writes the sentences; by default, captions are put into fixed phrases.",
            rich_help_panel=_MODELS_PANEL,
        ),
    ] = None,
    language_server: Annotated[
        str | None,
        typer.Option(
            "--language-server",
            metavar="URL",
            help="Instead of --language-model: a server with OpenAI's interface, such as http://127.0.0.1:8080/v1.",
            rich_help_panel=_MODELS_PANEL,
        ),
    ] = None,
    language_name: Annotated[
        str,
        typer.Option(
            "--language-name",
            metavar="NAME",
            help="Name of the model on the language server.",
            rich_help_panel=_MODELS_PANEL,
        ),
    ] = "default",
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Allow a language server on another computer. It receives the descriptions of the clips.",
            rich_help_panel=_MODELS_PANEL,
        ),
    ] = False,
    pack: PackOption = None,
    device: DeviceOption = "auto",
) -> int:
    """Describe the picture and the sound of video clips, and suggest a prompt for each."""
    from rewas_cli.annotations import AnnotationRecord, table
    from rewas_engine.errors import MediaError
    from rewas_engine.media.clip import VideoClip
    from rewas_engine.pipeline import ReWaS
    from rewas_engine.runtime.atomic_files import write_text_atomic
    from rewas_engine.runtime.progress import Progress

    files = find_clips(clips)
    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        language = _language_stage(language_model, language_server, language_name, allow_remote, device)
        model = ReWaS.from_pretrained(pack or "starter", device=device)
        annotator = _annotator(model, picture_model, sound_model, language, no_sound, device)
        record = AnnotationRecord(output, annotator.stage_names)
        record.read_earlier()
        with progress_bar("annotate") as report:
            for number, path in enumerate(files):
                report(Progress(path.name, number, len(files), number / len(files)))
                if record.reuse(path):
                    continue
                try:
                    record.add(path, annotator.annotate(VideoClip(path), cancel))
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
    Printer(as_json).result(record.report(), lines)
    return FAILED_WORK if record.failed and not record.rows else SUCCESS


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
    from rewas_engine.annotation.local_models import LocalLanguageModel
    from rewas_engine.runtime.devices import resolve_device

    return LocalLanguageModel(folder, resolve_device(device))


def _annotator(
    model: ReWaS,
    picture_folder: Path | None,
    sound_folder: Path | None,
    language: LanguageModel | None,
    no_sound: bool,
    device: str,
) -> Annotator:
    from rewas_engine.annotation.annotator import Annotator
    from rewas_engine.annotation.labels import PictureLabels, SoundLabels
    from rewas_engine.annotation.local_models import PictureCaptioner, SoundCaptioner
    from rewas_engine.annotation.stages import Captioner
    from rewas_engine.runtime.devices import resolve_device

    place = resolve_device(device)
    picture: Captioner = PictureLabels(model) if picture_folder is None else PictureCaptioner(picture_folder, place)
    sound: Captioner | None = None
    if not no_sound:
        sound = SoundLabels(model) if sound_folder is None else SoundCaptioner(sound_folder, place)
    return Annotator(picture, sound, language)
