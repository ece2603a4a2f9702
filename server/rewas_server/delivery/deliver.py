"""Delivers generated stems according to a profile. A second delivery writes only the files that have changed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.runtime.atomic_files import flush_to_disk
from rewas_engine.runtime.progress import CancelSignal, raise_if_cancelled
from rewas_server.delivery.broadcast_wav import write_broadcast_wav
from rewas_server.delivery.content_credentials import ContentSigner, SigningIdentity
from rewas_server.delivery.continuity import find_runs
from rewas_server.delivery.delivery_record import RECORD_FOLDER, DeliveredFile, DeliveryRecord, file_digest
from rewas_server.delivery.file_names import numbered_names
from rewas_server.delivery.layout import LaidOutStem, lay_out
from rewas_server.delivery.loudness import LoudnessFigures
from rewas_server.delivery.profiles import Profile
from rewas_server.delivery.rendering import (
    DeliveredRange,
    RenderedStem,
    common_key,
    delivered_range,
    render_group,
    render_key,
)
from rewas_server.delivery.sound_categories import SoundCategories, categories_version
from rewas_server.delivery.stem_names import long_path_note, name_key, plan_file_names
from rewas_server.delivery.stems import GeneratedStem, PlacedStem, TimelineFacts

_SUFFIX = ".wav"
_MAX_NAMED = 5
_UNFINISHED_SUFFIX = ".partial.wav"
OnDelivered = Callable[[int, int], None]
"""Called with the number of stems that are done, and the number of all stems."""


@dataclass(frozen=True)
class DeliveredStem:
    """A stem in its file.

    Attributes:
        stem: The stem as it was generated.
        placed: Its place on the timeline; `target_url` is the path of the file.
        path: Absolute path of the file.
        sha256: SHA-256 of the file.
        was_written: False if the file was already there.
        loudness: Measured figures.
        gain_db: Gain that keeps the true peak within the profile's limit, at most 0.
        size_bytes: Size of the file as it was delivered.
        modified_ns: Modification time of the file as it was delivered.
    """

    stem: GeneratedStem
    placed: PlacedStem
    path: Path
    sha256: str
    was_written: bool
    loudness: LoudnessFigures
    gain_db: float
    size_bytes: int
    modified_ns: int

    @property
    def is_silent(self) -> bool:
        """Whether all samples are 0."""
        return self.loudness.max_true_peak_dbtp is None


@dataclass(frozen=True)
class Delivery:
    """The result of a delivery.

    Attributes:
        stems: In the order of the generated stems, without those that the profile leaves out.
        notes: What the user must know, each in a sentence or two.
        stale: Files of earlier deliveries of this timeline that are no longer needed and that nobody has changed.
    """

    stems: tuple[DeliveredStem, ...]
    notes: tuple[str, ...]
    stale: tuple[Path, ...]


def deliver_stems(
    stems: Iterable[GeneratedStem],
    profile: Profile,
    facts: TimelineFacts,
    folder: Path,
    on_progress: OnDelivered | None = None,
    cancel: CancelSignal | None = None,
    categories: SoundCategories | None = None,
) -> Delivery:
    """Render stems to files in a folder.

    A file is either complete or does not exist. If the delivery is cancelled or fails, finished files stay, and the
    next delivery continues from there. Files that somebody else wrote or changed are never overwritten: the stem then
    gets another name.

    Args:
        stems: All stems of the timeline.
        profile: The delivery profile.
        facts: Facts about the timeline.
        folder: Folder for the files. `.rewas` in it contains the record of deliveries.
        on_progress: Called after each file is written, and for each group of stems whose files are up to date.
        cancel: Stops the delivery when it is set.
        categories: Finds the categories of prompts. The default remembers what earlier deliveries have found.

    Raises:
        ProblemError: MEDIA for a stem that cannot be read or is too short.
        Cancelled: On request.
        OSError: A file cannot be written.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with DeliveryRecord(folder) as record:
        if categories is None:
            categories = SoundCategories(record.kinds(categories_version()))
        laid_out = lay_out(stems, profile, categories)
        names = plan_file_names(laid_out, profile, facts, categories)
        writer = _Writer(folder, profile, facts, record, names)
        return writer.deliver(laid_out, names, on_progress or (lambda done, total: None), cancel)


def open_signer(profile: Profile) -> ContentSigner | None:
    """Return the signer for the files of a profile, or None if it does not sign them.

    Raises ProblemError (SETTINGS) if the certificate of the profile cannot be used. Call it before the work begins.
    """
    credentials = profile.content_credentials
    if credentials is None:
        return None
    folder = profile.path.parent
    certificate, private_key = (
        folder / Path(path).expanduser() for path in (credentials.certificate, credentials.private_key)
    )
    return ContentSigner(SigningIdentity(certificate, private_key, credentials.algorithm))


def remove_stale(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """Delete files of earlier deliveries, for example `Delivery.stale`. Files that somebody has changed are kept.

    Returns the deleted files. Raises OSError.
    """
    folder = folder.absolute()
    names = {path.absolute().relative_to(folder).as_posix() for path in paths}
    removed = []
    with DeliveryRecord(folder) as record:
        for file in record.files():
            if file.name in names and record.is_ours(file):
                (folder / file.name).unlink(missing_ok=True)
                record.forget(file)
                removed.append(folder / file.name)
    return removed


class _Writer:
    def __init__(
        self, folder: Path, profile: Profile, facts: TimelineFacts, record: DeliveryRecord, names: Sequence[str]
    ) -> None:
        self._folder, self._profile, self._facts, self._record = folder, profile, facts, record
        self._timeline = facts.identity or facts.name
        self._planned_keys = {name_key(name) for name in names}
        self._owners = {file.name.casefold(): (file.timeline, file.wanted) for file in record.files()}
        self._present = {path.name.casefold() for path in folder.iterdir()}
        self._signer: ContentSigner | None = None
        for left_behind in (folder / RECORD_FOLDER).glob(f"*{_UNFINISHED_SUFFIX}"):
            left_behind.unlink(missing_ok=True)
        note = long_path_note(folder, names)
        self._notes: list[str] = [note] if note else []
        if record.note:
            self._notes.append(record.note)

    def deliver(
        self,
        stems: Sequence[LaidOutStem],
        names: Sequence[str],
        on_progress: OnDelivered,
        cancel: CancelSignal | None,
    ) -> Delivery:
        runs = find_runs(stems)
        groups: dict[int, list[int]] = {}
        for number, run in enumerate(runs):
            groups.setdefault(run.group, []).append(number)
        ranges = [
            delivered_range(each.stem, self._profile, self._facts, run) for each, run in zip(stems, runs, strict=True)
        ]
        common = common_key(self._profile, self._facts)
        delivered: dict[int, DeliveredStem] = {}
        for group in groups.values():
            raise_if_cancelled(cancel)
            missing: dict[int, tuple[int, str]] = {}
            for index, number in enumerate(group):
                held = ranges[number]
                key = render_key(number, stems, runs, group, held, common)
                file = self._record.find(self._timeline, name_key(names[number]))
                if file is not None and file.key == key and self._record.is_unchanged(file):
                    file = self._record.find(self._timeline, file.wanted) or file  # It may have a new time.
                    delivered[number] = self._delivered(stems[number], held, file, was_written=False)
                else:
                    missing[index] = (number, key)
            if missing:
                if self._signer is None:
                    self._signer = open_signer(self._profile)
                held_stems = [(stems[number], ranges[number]) for number in group]
                rendered = render_group(held_stems, self._profile, self._facts, missing)
                for (number, key), sound in zip(missing.values(), rendered, strict=True):
                    raise_if_cancelled(cancel)
                    file = self._write(names[number], key, sound)
                    delivered[number] = self._delivered(stems[number], ranges[number], file, was_written=True)
                    on_progress(len(delivered), len(stems))
            if not missing:
                on_progress(len(delivered), len(stems))
        in_order = tuple(delivered[number] for number in range(len(stems)))
        self._note_silence(in_order)
        return Delivery(in_order, tuple(self._notes), tuple(self._stale()))

    def _note_silence(self, stems: Sequence[DeliveredStem]) -> None:
        silent = [stem.path.name for stem in stems if stem.placed.is_audible and stem.is_silent]
        if silent:
            more = f", and {len(silent) - _MAX_NAMED} more" if len(silent) > _MAX_NAMED else ""
            self._notes.append(f"Silent from beginning to end: {', '.join(silent[:_MAX_NAMED])}{more}.")

    def _write(self, name: str, key: str, sound: RenderedStem) -> DeliveredFile:
        wanted = name_key(name)
        earlier = self._record.find(self._timeline, wanted)
        path = self._choose_path(name, earlier)
        unfinished = self._folder / RECORD_FOLDER / f"{secrets.token_hex(8)}{_UNFINISHED_SUFFIX}"
        try:
            self._render(unfinished, sound)
            stat, sha256 = unfinished.stat(), file_digest(unfinished)
            if earlier is None and self._holds(name, sha256):
                # The record was lost, and the file is still the same.
                path = self._folder / f"{name}{_SUFFIX}"
                stat = path.stat()
            elif path.stem != name:
                self._note_other_name(name, path, earlier)
            file = DeliveredFile(
                timeline=self._timeline,
                wanted=wanted,
                name=path.name,
                key=key,
                sha256=sha256,
                earlier_sha256=earlier.sha256 if earlier is not None and earlier.name == path.name else "",
                size_bytes=stat.st_size,
                modified_ns=stat.st_mtime_ns,
                gain_db=sound.gain_db,
                loudness=sound.metadata.loudness or LoudnessFigures(),
            )
            # Recorded before it gets its name, because a file without a record would be taken for the user's.
            self._record.add(file)
            self._owners[file.name.casefold()] = (file.timeline, file.wanted)
            unfinished.replace(path)
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        finally:
            unfinished.unlink(missing_ok=True)
        return file

    def _render(self, path: Path, sound: RenderedStem) -> None:
        file = self._profile.file
        with path.open("xb") as opened:
            write_broadcast_wav(opened, sound.waveform, file.sample_rate_hz, sound.metadata, file.sample_format)
            flush_to_disk(opened)
        if self._signer is not None:
            self._signer.sign(path, sound.metadata)

    def _choose_path(self, name: str, earlier: DeliveredFile | None) -> Path:
        """Return the path for a file: its earlier one, or the first that is free."""
        if earlier is not None and self._record.is_ours(earlier):
            return self._folder / earlier.name
        return next(self._folder / f"{each}{_SUFFIX}" for each in numbered_names(name) if self._is_free(each, name))

    def _is_free(self, candidate: str, name: str) -> bool:
        """Whether nothing else has or will have a name. name: the one that the profile gives the stem."""
        path = self._folder / f"{candidate}{_SUFFIX}"
        is_planned = candidate != name and name_key(candidate) in self._planned_keys
        is_taken = path.name.casefold() in self._owners or path.name.casefold() in self._present
        return not is_planned and not is_taken and not path.exists()

    def _holds(self, name: str, sha256: str) -> bool:
        """Whether the folder contains exactly this file under a name that belongs to no other stem."""
        path = self._folder / f"{name}{_SUFFIX}"
        return path.name.casefold() not in self._owners and path.is_file() and file_digest(path) == sha256

    def _note_other_name(self, name: str, path: Path, earlier: DeliveredFile | None) -> None:
        if earlier is None:
            self._notes.append(f"{name}{_SUFFIX} is not from this timeline. It was kept, and the stem is {path.name}.")
        elif path.name != earlier.name:
            self._notes.append(f"{earlier.name} was changed after delivery. It was kept, and the stem is {path.name}.")

    def _delivered(
        self, laid_out: LaidOutStem, held: DeliveredRange, file: DeliveredFile, *, was_written: bool
    ) -> DeliveredStem:
        stem, rate_hz = laid_out.stem, self._profile.file.sample_rate_hz
        path = self._folder / file.name
        placed = PlacedStem(
            clip_name=stem.clip_name,
            role=stem.role,
            take_number=stem.take_number,
            track=laid_out.track,
            is_audible=laid_out.is_audible,
            position_s=stem.position_s,
            duration_s=stem.duration_s,
            frame_rate=stem.frame_rate or self._facts.frame_rate,
            target_url=str(path),
            sample_rate_hz=rate_hz,
            samples=held.samples,
            channels=2 if self._profile.file.channels == "stereo" else 1,
            time_reference_samples=held.time_reference_samples,
            provenance=stem.provenance,
            head_handle_s=held.head_s,
            tail_handle_s=held.tail_s,
            clip_number=stem.clip_number,
        )
        return DeliveredStem(
            stem=stem,
            placed=placed,
            path=path,
            sha256=file.sha256,
            was_written=was_written,
            loudness=file.loudness,
            gain_db=file.gain_db,
            size_bytes=file.size_bytes,
            modified_ns=file.modified_ns,
        )

    def _stale(self) -> list[Path]:
        found = []
        for file in self._record.files():
            if file.timeline == self._timeline and file.wanted not in self._planned_keys:
                if not (self._folder / file.name).exists():
                    self._record.forget(file)
                elif self._record.is_unchanged(file):
                    found.append(self._folder / file.name)
        return sorted(found)
