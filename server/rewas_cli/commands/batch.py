"""`rewas batch`: sound for every clip of a timeline that has a prompt."""

from __future__ import annotations

import gc
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.prompt_options import (
    DefaultPromptOption,
    MarkersOption,
    PromptForOption,
    SheetOption,
    SuggestOption,
    prompt_options,
)
from rewas_cli.commands.shared_options import (
    OUTPUT_PANEL,
    RECORDING_HELP,
    TAIL_HELP,
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
    complete_tail,
)
from rewas_cli.commands.timeline_options import (
    MediaPathsOption,
    PathMapOption,
    ProfileOption,
    RateOption,
    SearchFolderOption,
    TimelineArgument,
    TimelineNameOption,
    VisibleOption,
    read_options,
    resolve_options,
)
from rewas_cli.console import (
    FAILED_WORK,
    INTERRUPTED,
    SUCCESS,
    Printer,
    batch_progress_bar,
    cancel_on_ctrl_c,
    note,
    print_problem,
    progress_bar,
    protect_stdout,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    import opentimelineio as otio

    from rewas_api.clip_settings import ClipSettings
    from rewas_api.errors import ProblemError
    from rewas_cli.runner import Runner
    from rewas_engine.runtime.progress import CancelSignal
    from rewas_server.batch.finished import BatchReport
    from rewas_server.batch.record import BatchRecord
    from rewas_server.batch.server_maker import BatchDetached
    from rewas_server.batch.stem_delivery import SoundedClip
    from rewas_server.delivery.deliver import Delivery
    from rewas_server.delivery.profiles import Profile
    from rewas_server.files.file_stamps import FileStamp
    from rewas_server.otio.planning import ClipList, FindOptions, ListedClip
    from rewas_server.otio.reading import ReadOptions


_REPEAT_PANEL = "Repeat"
_DEFAULTS_PANEL = "Defaults for clips without their own setting"
EXAMPLES = """\
rewas batch cut.otio --output cut-with-sound.otio --stems stems/
rewas batch cut.otio --output cut-with-sound.otio --stems stems/ --takes 3 --steps 25 --seed 7
rewas batch cut.edl --rate 25 --output cut-with-sound.otio --stems stems/ --sheet spotting.csv
rewas batch cut.aaf --output mix.rpp --stems stems/ --profile post --search-folder /mnt/rushes
rewas batch cut.otio --output cut-with-sound.otio --stems stems/ --again "door*"
rewas batch cut.otio --output cut-with-sound.otio --stems stems/ --server 127.0.0.1:50071 --detach
"""


def batch(
    timeline: TimelineArgument,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The timeline to write.", rich_help_panel=OUTPUT_PANEL),
    ],
    stems: Annotated[
        Path,
        typer.Option(
            "--stems", metavar="DIR", file_okay=False, help="The folder for the stems.", rich_help_panel=OUTPUT_PANEL
        ),
    ],
    media_paths: MediaPathsOption = None,
    profile: ProfileOption = "default",
    sample_rate: SampleRateOption = None,
    level: LevelOption = None,
    as_json: JsonOption = False,
    rate: RateOption = None,
    timeline_name: TimelineNameOption = None,
    visible: VisibleOption = "topmost",
    search_folders: SearchFolderOption = None,
    path_maps: PathMapOption = None,
    sheet: SheetOption = None,
    markers: MarkersOption = "labelled",
    prompt_for: PromptForOption = None,
    prompt: DefaultPromptOption = None,
    suggest: SuggestOption = False,
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
    like: Annotated[
        Path | None,
        typer.Option(
            "--like",
            metavar="SOUND",
            dir_okay=False,
            help="A sound file or a video that the sounds should resemble in spectrum and texture.",
            rich_help_panel=_DEFAULTS_PANEL,
        ),
    ] = None,
    recording: Annotated[
        int | None,
        typer.Option("--recording", metavar="N", help=RECORDING_HELP, rich_help_panel=_DEFAULTS_PANEL),
    ] = None,
    tail: Annotated[
        str | None,
        typer.Option(
            "--tail",
            metavar="curve|natural",
            help=TAIL_HELP,
            autocompletion=complete_tail,
            rich_help_panel=_DEFAULTS_PANEL,
        ),
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
    again: Annotated[
        list[str] | None,
        typer.Option(
            "--again",
            metavar="NAME",
            help="Generate another sound for the clips of this name; can be repeated. * stands for any text.",
            rich_help_panel=_REPEAT_PANEL,
        ),
    ] = None,
    clean: Annotated[
        bool,
        typer.Option(
            "--clean",
            help="Delete the files in the folder of the stems that earlier runs wrote and no timeline needs any more.",
            rich_help_panel=_REPEAT_PANEL,
        ),
    ] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="With --server: end as soon as the server has the job. The same command without it fetches the "
            "sounds.",
            rich_help_panel=_REPEAT_PANEL,
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            help="Print the sounds of all clips. By default, those kept from an earlier run are only counted.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            dir_okay=False,
            help="Also write the JSON object of --json to this .json file.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
) -> int:
    """Generate sound for each clip with a prompt, and add the stems on new audio tracks.

    A prompt can be in metadata["rewas"], in a spotting sheet, in a marker such as "SFX: footsteps", or in an option.

    Finished sounds are kept. A batch that was stopped continues where it stopped, and a repeat generates only what has
    changed: a clip that was moved, renamed or trimmed keeps its sound.

    A clip that fails does not stop the others. It is reported at the end, and the exit code is then 1.
    """
    from rewas_api.clip_settings import ClipSettings
    from rewas_api.performance_settings import PerformanceSettings
    from rewas_cli.commands.layer_options import find_reference_sound
    from rewas_cli.runner import open_runner
    from rewas_engine.runtime.garbage_collection import paused_garbage_collection
    from rewas_server.batch.finished import outcome_files
    from rewas_server.batch.record import FOLDER_NAME, BatchRecord
    from rewas_server.batch.run import BatchStopped
    from rewas_server.batch.server_maker import BatchDetached
    from rewas_server.delivery.profiles import load_profile
    from rewas_server.otio.planning import FindOptions
    from rewas_server.work.requests import name_clip_in_settings_errors

    if detach and server is None:
        raise typer.BadParameter("--detach has no effect without --server.")
    delivered_as = load_profile(profile)
    with name_clip_in_settings_errors("The timeline's defaults"):
        defaults = ClipSettings(
            pack=pack,
            seed=seed,
            takes=takes,
            num_inference_steps=num_steps,
            guidance_scale=guidance_scale,
            control_strength=control_strength,
            sample_rate_hz=sample_rate or delivered_as.file.sample_rate_hz,
            conflict_policy=conflict,
            level=level,
            like=None if like is None else str(find_reference_sound(like)),
            performance=PerformanceSettings(recording, tail),
        )
    job = _Batch(
        file=timeline,
        reading=read_options(rate, timeline_name, stems.absolute() / FOLDER_NAME / "media"),
        finding=FindOptions(
            visible,
            prompt_options(prompt, prompt_for, markers, sheet),
            resolve_options(timeline, search_folders, path_maps),
        ),
        output=output,
        stems=stems,
        media_paths=media_paths or _usual_media_paths(delivered_as, output),
        profile=delivered_as,
        defaults=defaults,
        again=tuple(again or ()),
        report_file=report_file,
        is_verbose=verbose,
        conflict_model=conflict_model,
    )
    try:
        with protect_stdout(), cancel_on_ctrl_c() as cancel:
            execution = build_execution(precision, compiled, low_memory, server, device)
            job.check_paths()
            with open_runner(server, execution, conflict_model, device) as runner, BatchRecord(stems, note) as record:
                # These ask for something new, or depend on files that are not checked.
                is_new = bool(again or clean or detach or suggest or conflict_model)
                inputs = None if is_new else job.inputs()
                report = job.find_unchanged(inputs, runner, record, as_json)
                if report is None:
                    # Garbage collection is slow with the many objects of a long timeline, which live to the end.
                    with paused_garbage_collection():
                        read = job.read()
                    listed, wanted, media = job.list_clips(read, runner if suggest else None, cancel)
                    gc.freeze()
                    sounds = job.make(wanted, read, runner, record, detach, cancel)
                    with paused_garbage_collection():
                        delivery, documents = job.deliver(sounds, listed.clips, read, cancel)
                        outputs = job.write(sounds, delivery, read, record)
                        if clean:
                            job.clean(delivery, record)
                        report = job.describe(sounds, delivery, listed.problems)
                        if media is not None and inputs is not None and inputs == job.inputs():
                            files = outcome_files(record, media, sounds, delivery, documents, outputs)
                            job.remember(inputs, files, sounds, report, read, runner, record, as_json)
    except BatchDetached as detached:
        return job.report_detached(detached, as_json)
    except BatchStopped as stopped:
        print_problem(
            f"Stopped on request. {stopped.made_count} of {stopped.clip_count} clips have their sound.",
            "Run the same command again to generate the others.",
            "CANCELLED",
            as_json,
        )
        return INTERRUPTED
    return job.print_report(report, as_json)


def _usual_media_paths(profile: Profile, output: Path) -> str | None:
    """Return the media paths of a profile where the format of the output has them, else None: those of the format."""
    from rewas_server.otio.formats import format_for

    style = profile.layout.media_paths
    return style if style and style in format_for(output, writes=True).media_paths else None


@dataclass(frozen=True)
class _Batch:
    """The steps of a batch, in their order. The fields are the arguments of the command.

    notes: The notes that were printed.
    """

    file: Path
    reading: ReadOptions
    finding: FindOptions
    output: Path
    stems: Path
    media_paths: str | None
    profile: Profile
    defaults: ClipSettings
    again: tuple[str, ...]
    report_file: Path | None
    is_verbose: bool
    conflict_model: Path | None
    notes: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Print a note."""
        note(text)
        self.notes.append(text)

    def inputs(self) -> str | None:
        """Return a digest of what decides the outcome, except media, packs and kept sounds; None if it is not known."""
        from rewas_server.batch.finished import read_inputs

        options = (
            self.reading, self.finding, self.stems.absolute(), self.media_paths, self.profile, self.defaults
        )  # fmt: skip
        return read_inputs(self.file, self.output, options)

    def find_unchanged(
        self, inputs: str | None, runner: Runner, record: BatchRecord, as_json: bool
    ) -> BatchReport | None:
        """Return the report of the last run if nothing has changed since, else None."""
        from rewas_server.batch.finished import find_finished

        if inputs is None:
            return None
        wants_json = as_json or self.report_file is not None
        report = find_finished(
            record, inputs, runner.pack_content_sha256, verbose=self.is_verbose, as_json=wants_json
        )  # fmt: skip
        if report is not None:
            for text in report.notes:
                self.say(text)
            note("Nothing has changed since the last run, so nothing was written.")
        return report

    def check_paths(self) -> None:
        """Check that everything can be written, before any sound is generated."""
        from rewas_api.errors import ProblemError, ProblemKind
        from rewas_server.delivery.deliver import open_signer
        from rewas_server.files.output_paths import check_file_writable, check_folder_writable
        from rewas_server.otio.writing import check_output

        check_output(self.output, media_paths=self.media_paths)
        open_signer(self.profile)
        check_folder_writable(self.stems)
        if self.report_file is not None:
            # Any other file, such as a clip of the timeline, is a mistake and would be lost.
            if self.report_file.suffix.lower() != ".json":
                raise ProblemError(
                    f"The report file {self.report_file.name} does not have the suffix .json.",
                    "Choose a name that ends in .json with --report.",
                    ProblemKind.SETTINGS,
                )
            inputs = (self.file, self.output)
            check_file_writable(self.report_file, "report", read=inputs, created_folder=self.stems)

    def read(self) -> otio.schema.Timeline:
        """Read the timeline, without the stems of an earlier batch. Raises ProblemError."""
        from rewas_server.batch.stem_delivery import timeline_facts
        from rewas_server.otio.reading import open_timeline
        from rewas_server.otio.replaced_sounds import unmute_replaced_sounds
        from rewas_server.otio.stem_tracks import remove_stem_tracks
        from rewas_server.otio.writing import check_output

        opened = open_timeline(self.file, self.reading)
        for text in opened.notes:
            self.say(text)
        # Delivery needs a valid start timecode and frame rate.
        timeline_facts(opened.timeline, self.file, self.stems)
        # A batch may replace its own stems. Any other file is somebody's original.
        inputs = [] if remove_stem_tracks(opened.timeline) else [self.file]
        unmute_replaced_sounds(opened.timeline)
        losses = check_output(
            self.output,
            media_paths=self.media_paths,
            inputs=inputs,
            timeline=opened.timeline,
            source_folder=self.file.absolute().parent,
        )
        for loss in losses:
            self.say(f"Will be lost: {loss}.")
        return opened.timeline

    def list_clips(
        self, timeline: otio.schema.Timeline, suggesting: Runner | None = None, cancel: CancelSignal | None = None
    ) -> tuple[ClipList, list[ListedClip], Mapping[str, FileStamp] | None]:
        """Return all clips, those with a prompt with the defaults filled in, and their media for `outcome_files`.

        suggesting: suggests prompts for clips that have none, until `cancel` is set.

        Raises ProblemError if there are none.
        """
        from rewas_cli.commands.prompt_suggestions import list_with_suggestions
        from rewas_server.batch.finished import settled_media
        from rewas_server.batch.plan import check_again_patterns, list_wanted_clips
        from rewas_server.otio.media_links import link_found_media
        from rewas_server.otio.planning import list_clips, ready_clips

        listed = list_clips(timeline, self.finding)
        if suggesting is not None and cancel is not None:
            listed, suggested = list_with_suggestions(
                timeline, listed, self.finding, suggesting, self.defaults.pack, cancel
            )
            for text in suggested:
                self.say(text)
        link_found_media(timeline, {each.picture.path: each.media for each in listed.clips if each.media is not None})
        for text in listed.notes:
            self.say(text)
        wanted = list_wanted_clips(listed.clips, self.defaults, timeline.name, self.file.absolute().parent)
        check_again_patterns(self.again, ready_clips(wanted))
        likes = {like for each in wanted if each.clip is not None for like in each.clip.settings.references}
        return listed, wanted, settled_media(listed, self.finding.media, map(Path, likes))

    def make(
        self,
        clips: Sequence[ListedClip],
        timeline: otio.schema.Timeline,
        runner: Runner,
        record: BatchRecord,
        is_detached: bool,
        cancel: threading.Event,
    ) -> list[SoundedClip]:
        """Generate the missing sounds. Raises ProblemError if no clip has a sound."""
        from rewas_cli.runner import locate_local_media
        from rewas_server.batch.plan import BatchPlan
        from rewas_server.batch.run import ClipOutcome, run_batch
        from rewas_server.batch.stem_delivery import with_results
        from rewas_server.otio.clips import timeline_frame_rate
        from rewas_server.work.clip_outcomes import raise_if_all_fail

        plan = BatchPlan(
            {number: each.clip for number, each in enumerate(clips, start=1) if each.clip is not None},
            record,
            runner.pack_content_sha256,
            locate_local_media,
            handle_s=self.profile.file.handle_frames / timeline_frame_rate(timeline),
            again=self.again,
            conflict_model_sha256=_hash_conflict_model(self.conflict_model, record),
            clip_count=len(clips),
            is_library=runner.is_library,
        )
        with batch_progress_bar(timeline.name) as on_progress:
            made = run_batch(plan, runner.sound_maker(record, is_detached), on_progress, cancel)
        for text in plan.notes:
            self.say(text)
        outcomes = [
            made[number] if number in made else ClipOutcome(number, problem=each.problem)
            for number, each in enumerate(clips, start=1)
        ]
        raise_if_all_fail(timeline.name, [outcome.problem for outcome in outcomes])
        return with_results(outcomes, clips)

    def deliver(
        self,
        sounds: Sequence[SoundedClip],
        listed: Sequence[ListedClip],
        timeline: otio.schema.Timeline,
        cancel: threading.Event,
    ) -> tuple[Delivery, list[Path]]:
        """Write the stems, and the documents that the profile asks for. Returns the paths of the documents.

        listed: All clips of the timeline.
        """
        from rewas_engine import Progress
        from rewas_server.batch.stem_delivery import generated_stems, missing_sounds, timeline_facts
        from rewas_server.delivery.deliver import deliver_stems
        from rewas_server.delivery.documents import write_documents

        facts = timeline_facts(timeline, self.file, self.stems)
        with progress_bar(timeline.name) as on_progress:

            def report(done: int, total: int) -> None:
                on_progress(Progress("deliver", done, total, done / max(1, total)))

            stems = generated_stems(sounds)
            delivery = deliver_stems(stems, self.profile, facts, self.stems, report, cancel)
        missing = missing_sounds(sounds, listed)
        documents = write_documents(delivery, self.profile, facts, self.stems, missing)
        for path in documents:
            self.say(f"Wrote {path}.")
        for text in delivery.notes:
            self.say(text)
        return delivery, documents

    def write(
        self,
        sounds: Sequence[SoundedClip],
        delivery: Delivery,
        timeline: otio.schema.Timeline,
        record: BatchRecord,
    ) -> list[Path]:
        """Write the timeline with the stems. Returns the paths of its files."""
        from rewas_server.batch.stem_delivery import timeline_facts, write_identity
        from rewas_server.otio.replaced_sounds import mute_replaced_sounds
        from rewas_server.otio.stem_tracks import add_stem_tracks
        from rewas_server.otio.writing import write_timeline

        facts = timeline_facts(timeline, self.file, self.stems)
        muted = mute_replaced_sounds(timeline, (each.listed.picture.clip for each in sounds if each.result is not None))
        if muted:
            what = "sound that was generated earlier is" if muted == 1 else "sounds that were generated earlier are"
            self.say(f"{muted} {what} muted, because their clips have new sounds.")
        add_stem_tracks(timeline, [each.placed for each in delivery.stems], self.profile)
        write_identity(timeline, facts)
        written = write_timeline(
            timeline, self.output, media_paths=self.media_paths, source_folder=self.file.absolute().parent
        )
        record.set_wanted(facts.identity, [each.outcome.sound.key for each in sounds if each.outcome.sound])
        return written

    def clean(self, delivery: Delivery, record: BatchRecord) -> None:
        """Delete the files that no timeline needs any more."""
        from rewas_server.delivery.deliver import remove_stale

        stems, sounds = len(remove_stale(self.stems, delivery.stale)), record.remove_unused()
        self.say(f"Files deleted because no timeline needs them: {stems} stems, {sounds} sounds.")

    def describe(
        self, sounds: Sequence[SoundedClip], delivery: Delivery, problems: Sequence[ProblemError]
    ) -> BatchReport:
        """Return the outcome of each clip, and the prompts that match no clip."""
        from rewas_cli.reports import batch_clip_reports, problem_report

        clips = batch_clip_reports(sounds, delivery)
        return self._report(clips, [problem_report(problem) for problem in problems])

    def _report(self, clips: Sequence[dict[str, Any]], problems: Sequence[dict[str, Any]]) -> BatchReport:
        from rewas_cli.reports import batch_lines
        from rewas_server.batch.finished import BatchReport

        report = {
            "timeline": str(self.output.absolute()),
            "stems": str(self.stems.absolute()),
            "clips": clips,
            "problems": problems,
        }
        lines = batch_lines(clips, self.output, self.is_verbose)
        lines += [f"{problem['what']} {problem['remedy']}" for problem in problems]
        has_failed = bool(problems) or any(clip["problem"] for clip in clips)
        return BatchReport(tuple(self.notes), tuple(lines), self.is_verbose, report, has_failed)

    def remember(
        self,
        inputs: str,
        files: Mapping[str, FileStamp] | None,
        sounds: Sequence[SoundedClip],
        report: BatchReport,
        timeline: otio.schema.Timeline,
        runner: Runner,
        record: BatchRecord,
        as_json: bool,
    ) -> None:
        """Remember the outcome, so that a repeat with nothing changed ends at once."""
        from rewas_server.batch.finished import remember_finished
        from rewas_server.batch.stem_delivery import timeline_facts

        assert report.json is not None
        if files is None or report.has_failed:
            return
        names = [each.listed.clip.settings.packs for each in sounds if each.listed.clip is not None]
        packs = {name: runner.pack_content_sha256(name) for name in frozenset[str]().union(*names)}
        clips = [clip | {"origin": "kept"} if clip["origin"] == "generated" else clip for clip in report.json["clips"]]
        repeated = self._report(clips, [])
        if not as_json and self.report_file is None:
            repeated = replace(repeated, json=None)
        facts = timeline_facts(timeline, self.file, self.stems)
        remember_finished(record, facts.identity, inputs, packs, files, repeated)

    def print_report(self, report: BatchReport, as_json: bool) -> int:
        """Print a report. Returns the exit code."""
        from rewas_engine.runtime.atomic_files import write_text_atomic

        if self.report_file is not None:
            write_text_atomic(self.report_file, json.dumps(report.json, indent=2, allow_nan=False) + "\n")
        Printer(as_json).result(report.json or {}, list(report.lines))
        return FAILED_WORK if report.has_failed else SUCCESS

    def report_detached(self, detached: BatchDetached, as_json: bool) -> int:
        """Print how to get the sounds of a job that continues without this process. Returns the exit code."""
        report = {"job": detached.job_id, "clips": detached.clip_count}
        lines = [
            f"The job {detached.job_id} generates the sounds of {detached.clip_count} clips on the server.",
            "Run the same command without --detach to fetch them.",
        ]
        Printer(as_json).result(report, lines)
        return SUCCESS


def _hash_conflict_model(folder: Path | None, record: BatchRecord) -> str:
    if folder is None:
        return ""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    held = "".join(f"{record.media_sha256(path.absolute())} {path.relative_to(folder)}\n" for path in files)
    return hashlib.sha256(held.encode()).hexdigest()
