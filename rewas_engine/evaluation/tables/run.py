"""Measure a table: list the clips, make or find the sounds of every row, and compute its columns."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.errors import Cancelled, EngineError, SettingsError
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.encoders.selection import EncoderSet
from rewas_engine.evaluation.tables.av_benchmark import write_captions, write_features, write_videos
from rewas_engine.evaluation.tables.cache import ResultCache
from rewas_engine.evaluation.tables.clips import TableClip, read_clips
from rewas_engine.evaluation.tables.features import FeatureReader
from rewas_engine.evaluation.tables.measures import Cell, RowClips, TableMeasures
from rewas_engine.evaluation.tables.presets import COLUMNS, PUBLISHED_KINDS, Column, Preset
from rewas_engine.evaluation.tables.report import TableReport, TableRow, UsedEncoder
from rewas_engine.evaluation.tables.row_sources import (
    FolderSource,
    OriginalSource,
    PackSource,
    Rendition,
    RowSource,
)
from rewas_engine.generation.options import Sampling
from rewas_engine.pipeline import ReWaS
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.runtime.atomic_files import atomic_path
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_engine.training.datasets import Layout

SOUNDS_FOLDER = "sounds"
CACHE_FOLDER = "cache"


@dataclass(frozen=True)
class TablePlan:
    """What to measure.

    Attributes:
        preset: Which table.
        folder: The clips.
        layout: Layout of the folder.
        table: Table of the data set, if it is elsewhere.
        limit: Use at most this many clips.
        systems: Name -> folder with the files of another system.
        with_pack: Whether the pack makes sounds, or only the others are measured.
        sampling: Sampling of the pack.
        for_av_benchmark: Whether also the files that only av-benchmark reads are written: the pictures of the measured
            parts to `videos`, and features of the sounds.
    """

    preset: Preset
    folder: Path
    layout: Layout = "folder"
    table: Path | None = None
    limit: int | None = None
    systems: Mapping[str, Path] | None = None
    with_pack: bool = True
    sampling: Sampling | None = None
    for_av_benchmark: bool = False

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise SettingsError(f"The folder {self.folder} does not exist.", "Give a folder of videos with sound.")
        if self.limit is not None and self.limit < 1:
            raise SettingsError(f"The limit is {self.limit} clips.", "Use 1 or more.")
        if not self.with_pack and not self.systems:
            raise SettingsError("There is no row to measure.", "Use a pack, name a system, or both.")


def measure_table(
    model: ReWaS,
    plan: TablePlan,
    output: Path,
    *,
    encoders: Path | None = None,
    cache_folder: Path | None = None,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> TableReport:
    """Measure a table. An interrupted run continues where it stopped.

    The sounds of every row are written to `sounds/<row>/<clip>.flac` in the output folder, and the prompts to
    `captions.csv`.

    Args:
        model: The pack. Its joint space replaces encoders that are not given.
        plan: What to measure.
        output: Folder for the sounds.
        encoders: Folder of encoders; None for the built-in ones.
        cache_folder: Folder for results that several tables share; None is `cache` in the output folder.
        on_progress: Called with the progress.
        cancel: Ends the work.

    Raises:
        SettingsError: The plan cannot be carried out.
        PackError: An encoder cannot be loaded.
        OSError: A file cannot be written.
        Cancelled: The work was cancelled.
    """
    watch = Watch(on_progress, cancel)
    watch.section = plan.preset.name
    cache = ResultCache(cache_folder or output / CACHE_FOLDER)
    encoder_set = EncoderSet(model, encoders, model.device)
    measures = TableMeasures(encoder_set, cache, watch)
    # Fail now instead of after an hour if an encoder cannot be loaded, or a system has no files.
    used = measures.load_encoders(_columns(plan.preset))
    systems = [
        FolderSource(label, folder, cache, needs_video=plan.preset.measures_video, cancel=cancel)
        for label, folder in (plan.systems or {}).items()
    ]
    _check_folders(model, plan, systems)
    listed = read_clips(
        plan.folder,
        plan.preset,
        layout=plan.layout,
        table=plan.table,
        limit=plan.limit,
        on_clip=lambda done, total: watch.report("Listing clips", done, total),
    )
    original = OriginalSource(cache, cancel)
    originals, silent = _render(original, listed.clips, watch)
    clips = [clip for clip in listed.clips if clip.name in originals]
    left_out = [*listed.left_out, *(LeftOut(name, why) for name, why in silent.items())]
    if not clips:
        raise SettingsError(
            f"{plan.folder} has no clips that can be measured. First of {len(left_out)} problems: {left_out[0]}.",
            "Give videos with sound.",
        )
    write_captions(clips, output)
    if plan.for_av_benchmark:
        write_videos(clips, output, lambda done, total: watch.report("Writing videos", done, total), cancel)
    packs = (
        [PackSource(model, condition, clips, cache, plan.sampling, cancel) for condition in plan.preset.conditions]
        if plan.with_pack
        else []
    )
    sources: list[RowSource] = [original, *packs, *systems]
    features = (encoder_set, FeatureReader(cache, watch)) if plan.for_av_benchmark else None
    rows = [_measure_row(each, clips, originals, measures, plan.preset, output, watch, features) for each in sources]
    return TableReport(
        plan.preset,
        str(plan.folder),
        plan.layout,
        len(clips),
        float(sum(clip.duration_s for clip in clips)),
        sum(not clip.prompt for clip in clips),
        left_out,
        {key: UsedEncoder(encoder.name, kind in PUBLISHED_KINDS[key]) for key, (encoder, kind) in used.items()},
        rows,
        packs[0].settings() if packs else None,
    )


def _check_folders(model: ReWaS, plan: TablePlan, systems: Sequence[FolderSource]) -> None:
    """Raise SettingsError if two rows would write their sounds into the same folder."""
    conditions = plan.preset.conditions if plan.with_pack else ()
    # Some file systems do not distinguish upper and lower case.
    taken = {"original", *(f"{model.pack.name}-{condition}".casefold() for condition in conditions)}
    for system in systems:
        if system.name.casefold() in taken:
            raise SettingsError(
                f"The sounds of the system {system.label!r} would be in the same folder as those of another row.",
                "Give the system another name.",
            )
        taken.add(system.name.casefold())


def _columns(preset: Preset) -> list[Column]:
    return [COLUMNS[key] for key in preset.columns]


def _render(source: RowSource, clips: Sequence[TableClip], watch: Watch) -> tuple[dict[str, Rendition], dict[str, str]]:
    """The renditions of a row by clip, and the reasons why others are missing."""
    renditions: dict[str, Rendition] = {}
    missing: dict[str, str] = {}
    for number, clip in enumerate(clips):
        watch.report(f"Sounds: {source.label}", number, len(clips))
        try:
            renditions[clip.name] = source.render(clip)
        except Cancelled:
            raise
        except EngineError as error:
            missing[clip.name] = error.what.removesuffix(".")
    return renditions, missing


def _measure_row(
    source: RowSource,
    clips: Sequence[TableClip],
    originals: Mapping[str, Rendition],
    measures: TableMeasures,
    preset: Preset,
    output: Path,
    watch: Watch,
    features: tuple[EncoderSet, FeatureReader] | None,
) -> TableRow:
    if isinstance(source, PackSource) and source.unsupported:
        return TableRow(source.name, source.label, source.kind, 0, note=f"not supported: {source.unsupported}")
    renditions, missing = _render(source, clips, watch)
    own = [clip for clip in clips if clip.name in renditions]
    _publish(source.name, own, renditions, output)
    row = RowClips(own, [originals[clip.name] for clip in own], [renditions[clip.name] for clip in own])
    cells: dict[str, Cell] = {}
    for column in _columns(preset):
        if source.kind == "original" and not column.original:
            continue
        watch.check()
        cells[column.key] = measures.measure(column, row)
    if features is not None and own:
        write_features(output / SOUNDS_FOLDER / source.name, own, row.renditions, *features)
    note = "" if own else f"no clip could be measured: {next(iter(missing.values()), 'there are none')}"
    return TableRow(source.name, source.label, source.kind, len(own), cells if own else {}, missing, note)


def _publish(name: str, clips: Sequence[TableClip], renditions: Mapping[str, Rendition], output: Path) -> None:
    """Put the sounds of a row into a folder, under the names of the clips, and remove those of earlier runs."""
    folder = output / SOUNDS_FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        sound = renditions[clip.name].sound
        with atomic_path(folder / f"{clip.name}.flac") as unfinished:
            try:
                os.link(sound, unfinished)
            except OSError:  # another file system, or one without links
                shutil.copyfile(sound, unfinished)
    kept = {f"{clip.name}.flac" for clip in clips}
    for path in folder.glob("*.flac"):
        if path.name not in kept:
            path.unlink()
