"""The part of `rewas annotate` that describes the clips of a timeline, and writes their prompts into it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewas_cli.console import note, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    import opentimelineio as otio

    from rewas_cli.annotations import AnnotationRecord
    from rewas_engine.annotation.annotator import Annotator
    from rewas_engine.runtime.progress import CancelSignal
    from rewas_server.otio.clips import ClipSource
    from rewas_server.otio.planning import FindOptions, ListedClip
    from rewas_server.otio.reading import ReadOptions

RECORD_SUFFIX = ".annotations.json"
SENTENCES = ("picture", "sound", "description")


def is_timeline(file: Path) -> bool:
    """Whether the suffix of a file is that of a timeline."""
    from rewas_server.otio.formats import FORMATS

    return file.suffix.lower() in FORMATS


def record_path(output: Path) -> Path:
    """Return the file next to a timeline that holds the annotations, from which a stopped run continues."""
    return output.with_name(f"{output.stem}{RECORD_SUFFIX}")


@dataclass(frozen=True)
class Described:
    """The outcome of a run: as JSON and as text, and whether clips have failed."""

    report: dict[str, Any]
    lines: list[str]
    has_failed: bool


@dataclass
class TimelineAnnotation:
    """Describes the clips of a timeline that have no prompt, each in the range that it shows.

    Attributes:
        file: The timeline.
        reading, finding: How it is read, and how its clips are found.
        output: The timeline to write.
        media_paths: How it names its media.
        replaces: Whether clips that have a prompt get a new one.
    """

    file: Path
    reading: ReadOptions
    finding: FindOptions
    output: Path
    media_paths: str | None = None
    replaces: bool = False
    _notes: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Check that the result can be written, before any model is loaded. Raises ProblemError."""
        from rewas_api.errors import ProblemError, ProblemKind
        from rewas_server.files.output_paths import check_file_writable
        from rewas_server.otio.prompt_writing import keeps_metadata
        from rewas_server.otio.writing import check_output

        if not keeps_metadata(self.output) and self.replaces:
            raise ProblemError(
                f"A file with the suffix {self.output.suffix} holds prompts in markers, and --replace does not "
                "change markers.",
                "Write the timeline as .otio, or omit --replace.",
                ProblemKind.SETTINGS,
            )
        check_output(self.output, media_paths=self.media_paths, inputs=[self.file])
        check_file_writable(record_path(self.output), "list of annotations", read=[self.file])

    def run(
        self,
        annotator: Callable[[CancelSignal], Annotator],
        record: Callable[[Annotator], AnnotationRecord],
        cancel: CancelSignal,
    ) -> Described:
        """Describe the clips and write the timeline.

        annotator: Loads the annotator. record: Opens the list of annotations for it.
        """
        from rewas_server.otio.bundles import SUFFIXES as BUNDLES
        from rewas_server.otio.planning import list_clips
        from rewas_server.otio.reading import open_timeline
        from rewas_server.otio.writing import check_output, write_timeline

        folder = self.file.absolute().parent
        with tempfile.TemporaryDirectory(prefix="rewas-") as unpacked:
            is_packed_again = self.output.suffix.lower() in BUNDLES
            media = Path(unpacked) if is_packed_again else self.output.with_name(f"{self.output.stem} media")
            opened = open_timeline(self.file, replace(self.reading, media_folder=media))
            self._say(*opened.notes)
            losses = check_output(
                self.output,
                media_paths=self.media_paths,
                inputs=[self.file],
                timeline=opened.timeline,
                source_folder=folder,
            )
            self._say(*(f"Will be lost: {loss}." for loss in losses))
            listed = list_clips(opened.timeline, self.finding)
            self._say(*listed.notes)
            wanted = clips_to_describe(listed.clips, self.replaces)
            kept = record(stages := annotator(cancel))
            kept.read_earlier()
            rows = list(self._describe(wanted, stages, kept, cancel))
            self._write_prompts(opened.timeline, rows)
            kept.write()
            written = write_timeline(
                opened.timeline, self.output, media_paths=self.media_paths, source_folder=folder
            )  # fmt: skip
        report = {
            "timeline": str(self.output.absolute()),
            "files": [str(path.absolute()) for path in written],
            **{name: value for name, value in kept.report().items() if name != "clips"},
            "clips": [row.report() for row in rows],
            "notes": self._notes,
        }
        lines = [row.line() for row in rows]
        prompted = sum(bool(row.prompt) for row in rows)
        which = "" if self.replaces else " that had none"
        lines.append(f"{self.output}: wrote prompts for {prompted} of {len(rows)} clips{which}.")
        return Described(report, lines, any(row.problem is not None for row in rows))

    def _say(self, *texts: str) -> None:
        for text in texts:
            note(text)
            self._notes.append(text)

    def _describe(
        self, wanted: Sequence[ListedClip], annotator: Annotator, kept: AnnotationRecord, cancel: CancelSignal
    ) -> Iterator[DescribedClip]:
        from rewas_cli.commands.prompt_suggestions import ask_about
        from rewas_cli.runner import find_local_clip
        from rewas_engine import MediaError, Progress
        from rewas_server.work.context import name_clip_in_media_errors
        from rewas_server.work.translation import problem_from_error

        with progress_bar(self.file.name) as report:

            def ask(source: ClipSource) -> dict[str, Any]:
                clip = find_local_clip(source)
                row = kept.reuse(clip)
                if row is None:
                    try:
                        with name_clip_in_media_errors(clip):
                            row = kept.add(clip, annotator.annotate(clip, cancel))
                    except MediaError as error:
                        raise problem_from_error(error) from error
                return row

            for number, asked in enumerate(ask_about(wanted, ask)):
                report(Progress("describe", number, len(wanted), number / len(wanted)))
                picture = asked.listed.picture
                described = DescribedClip(picture.path, picture.name, picture.track_name, asked.answer)
                if asked.problem is not None:
                    described.problem = str(asked.problem)
                    location = "" if picture.source is None else picture.source.target_url
                    kept.add_failed(Path(location), f"{picture.name}: {asked.problem}")
                yield described

    def _write_prompts(self, timeline: otio.schema.Timeline, rows: Sequence[DescribedClip]) -> None:
        from rewas_server.otio.prompt_writing import find_clip, keeps_metadata, mark_prompt, write_prompt

        has_metadata = keeps_metadata(self.output)
        for row in rows:
            if row.annotation is None or not row.prompt:
                continue
            clip = find_clip(timeline, row.path)
            if has_metadata:
                write_prompt(clip, row.prompt, {name: row.annotation[name] for name in SENTENCES})
            else:
                mark_prompt(clip, row.prompt)
        if not has_metadata and any(row.prompt for row in rows):
            self._say(f"The prompts are in markers: {self.output.suffix} files have no metadata for them.")


@dataclass
class DescribedClip:
    """A clip of a timeline with its annotation.

    Attributes:
        path: Indexes of the parents' children that lead to the clip.
        name, track: Of the clip and its video track.
        annotation: As in the list of annotations; None if there is a problem.
        problem: Why there is none.
    """

    path: tuple[int, ...]
    name: str
    track: str
    annotation: dict[str, Any] | None
    problem: str | None = None

    @property
    def prompt(self) -> str:
        """The prompt; "" for none."""
        return "" if self.annotation is None else str(self.annotation["prompt"])

    def report(self) -> dict[str, Any]:
        """The clip as JSON."""
        return {"clip": self.name, "track": self.track, "problem": self.problem, **(self.annotation or {})}

    def line(self) -> str:
        """The clip in one line."""
        if self.annotation is None:
            return f"{self.name}: {self.problem}"
        said = " ".join(self.annotation["notes"])
        return f"{self.name}: {self.prompt or 'no prompt'}{f' ({said})' if said else ''}"


def clips_to_describe(listed: Sequence[ListedClip], replaces: bool) -> list[ListedClip]:
    """Return the clips that get a prompt: with their longest visible part, because a clip has one prompt.

    replaces: also return those that have a prompt.
    """
    import opentimelineio as otio

    from rewas_cli.commands.prompt_suggestions import lacks_prompt, wants_sound

    chosen: dict[tuple[int, ...], ListedClip] = {}
    prompted: set[tuple[int, ...]] = set()
    for each in listed:
        picture = each.picture
        if picture.hidden or not isinstance(picture.clip, otio.schema.Clip) or not wants_sound(each):
            continue
        if not lacks_prompt(each):
            prompted.add(picture.path)
        held = chosen.get(picture.path)
        if held is None or picture.duration_s > held.picture.duration_s:
            chosen[picture.path] = each
    return [each for path, each in chosen.items() if replaces or path not in prompted]
