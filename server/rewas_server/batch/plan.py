"""Which sound each clip of a timeline needs, and which of them are the same."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path, PureWindowsPath

from rewas_api.clip_settings import ClipSettings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.transfer import TransferProgress
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, EngineError
from rewas_server.batch.content_key import SoundIdentity, SoundRange, content_key
from rewas_server.batch.record import BatchRecord
from rewas_server.files.media import local_path
from rewas_server.otio.clips import ClipSource, PromptedClip
from rewas_server.otio.names import shorten_name
from rewas_server.otio.planning import ClipState, ListedClip
from rewas_server.work.requests import pack_uses
from rewas_server.work.timeline import build_sound_work
from rewas_server.work.translation import problem_from_error


@dataclass(frozen=True)
class WantedSound:
    """The sound that a clip needs.

    Attributes:
        number: Of the clip on the timeline, from 1.
        key: See `content_key`.
        family: See `SoundIdentity.family`.
        shown: The range of the sound, with handles.
        head_s: Length of the handle before the clip, as shown.
        clip: The clip.
        seed: Of the first take.
        media: The file.
        media_sha256: SHA-256 of its content.
        references: File and SHA-256 of each reference sound, by its location in the settings.
        can_be_cut: Whether a part of a longer sound may be used.
    """

    number: int
    key: str
    family: str
    shown: SoundRange
    head_s: Fraction
    clip: PromptedClip
    seed: int
    media: Path
    media_sha256: str
    references: Mapping[str, tuple[Path, str]]
    can_be_cut: bool

    @property
    def name(self) -> str:
        """Of the clip."""
        return self.clip.source.name

    @property
    def settings(self) -> ClipSettings:
        """Of the clip, with the seed."""
        return replace(self.clip.settings, seed=self.seed)

    @property
    def amount_s(self) -> Fraction:
        """Seconds of sound, all takes together."""
        return self.shown.duration_s * (self.clip.settings.takes or 1)

    def sound_work(self) -> rewas_pb2.SoundWork:
        """Return the request for exactly this sound."""
        source = self.clip.source.part(-self.head_s, self.shown.duration_s)
        return build_sound_work(source, self.settings, self.clip.frame_rate)


@dataclass
class BatchPlan:
    """Says which sound each clip needs. It reads the media of a clip only when it has changed.

    Args:
        clips: The clips that get a sound by their number, in the order of the timeline, with all settings but the seed.
        record: The finished sounds.
        pack_content_sha256: Returns the hash of a pack's files. Raises ProblemError, EngineError.
        locate_media: Returns the file of a clip. Raises ProblemError.
        handle_s: How much sound to generate before and after each clip, as far as the media reaches.
        again: Patterns for the names of clips that get another sound than the last one.
        conflict_model_sha256: Of a CLIP model that compares prompts with the video; "" without one.
        is_library: Returns whether a pack is a library of recordings. Raises like `pack_content_sha256`.
        clip_count: Number of clips with a prompt, including those that cannot get a sound; 0 means that all can.
    """

    clips: Mapping[int, PromptedClip]
    record: BatchRecord
    pack_content_sha256: Callable[[str], str]
    locate_media: Callable[[ClipSource], Path]
    handle_s: Fraction = Fraction(0)
    again: Sequence[str] = ()
    conflict_model_sha256: str = ""
    clip_count: int = 0
    is_library: Callable[[str], bool] = lambda pack: False
    notes: list[str] = field(default_factory=list, init=False)
    _renewed: dict[str, int] = field(default_factory=dict, init=False)

    def want(self, number: int, on_read: TransferProgress | None = None) -> WantedSound:
        """Return the sound that a clip needs.

        Args:
            number: Number of the clip, from 1.
            on_read: Called while its media is read, with the number of bytes read and their total. May raise to abort.

        Raises:
            ProblemError: The sound cannot be determined. The message names the clip.
        """
        clip = self.clips[number]
        try:
            media = self.locate_media(clip.source)
            references = {url: self._reference(url, on_read) for url in clip.settings.references}
            identity = SoundIdentity(
                media_sha256=self._media_sha256(clip.source, media, on_read),
                speed=clip.source.speed,
                freeze_s=clip.source.start_s if clip.source.speed == 0 else None,
                settings=clip.settings,
                pack_content_sha256=self.pack_content_sha256(clip.settings.pack or ""),
                conflict_model_sha256=self.conflict_model_sha256,
                reference_sha256={url: sha256 for url, (_, sha256) in references.items()},
                layer_pack_sha256=self._layer_pack_sha256(clip),
                libraries=frozenset(filter(self.is_library, clip.settings.packs)),
            )
        except Cancelled:
            raise
        except (OSError, EngineError, ProblemError) as error:
            problem = problem_from_error(error)
            if isinstance(error, ProblemError) and error.kind is not ProblemKind.MEDIA:
                raise
            name = clip.source.name
            what = problem.what if name in problem.what else f'The clip "{name}": {problem.what}'
            raise ProblemError(what, problem.remedy, problem.kind) from error
        head_s, tail_s = (Fraction(0), Fraction(0)) if clip.settings.loop else handles(clip.source, self.handle_s)
        shown = SoundRange.of(
            clip.source.start_s - head_s * clip.source.speed,
            head_s + clip.duration_s + tail_s,
            clip.source.speed,
        )
        variation = 0
        seed = clip.settings.seed
        if seed is None:
            variation = self._variation(clip, identity.seed_base(shown))
            seed = identity.derive_seed(shown, variation)
        elif self._is_renewed(clip):
            self._note_chosen_seed(clip)
        family = identity.family
        return WantedSound(
            number=number,
            key=content_key(family, shown, seed),
            family=family,
            shown=shown,
            head_s=head_s,
            clip=clip,
            seed=seed,
            media=media,
            media_sha256=identity.media_sha256,
            references=references,
            can_be_cut=variation == 0 and not clip.settings.loop,
        )

    def _layer_pack_sha256(self, clip: PromptedClip) -> dict[str, str]:
        """Return the hashes of the packs that layers name. Raises ProblemError, which names the clip and the layer."""
        hashes = {}
        for use in pack_uses(clip.settings, clip.source.name):
            try:
                hashes[use.pack] = self.pack_content_sha256(use.pack)
            except (EngineError, ProblemError) as error:
                raise use.name_in_problem(error) from error
        return hashes

    def _media_sha256(self, source: ClipSource, media: Path, on_read: TransferProgress | None) -> str:
        """Return the SHA-256 of a media file, or of all pictures of an image sequence. Raises OSError, ProblemError."""
        sequence = source.sequence
        if sequence is None:
            return self.record.media_sha256(media, on_read)
        digest = hashlib.sha256(f"{sequence.picture_rate} {sequence.step} {sequence.missing}\n".encode())
        for path in sequence.paths(media.parent, Fraction(0), sequence.duration_s):
            content = self.record.media_sha256(path, on_read) if path.is_file() else "missing"
            digest.update(f"{path.name} {content}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _reference(self, url: str, on_read: TransferProgress | None) -> tuple[Path, str]:
        """Return the file of a reference sound and its SHA-256. Raises OSError, ProblemError."""
        path = local_path(url)
        if not path.is_file():
            raise ProblemError(
                f"The reference sound {path} does not exist.",
                "Give the path of a sound file, absolute or relative to the timeline.",
                ProblemKind.MEDIA,
            )
        return path, self.record.media_sha256(path, on_read)

    def find_longer_clips(self) -> dict[int, int]:
        """Map each clip that shows a part of what another clip with the same settings shows to that clip, by number.

        Both share one sound, which is generated for the longer clip, whichever comes first. So the sounds of a timeline
        do not depend on the order in which they are generated.
        """
        # Few clips show the same media with the same prompt, and comparing all their settings is slow.
        similar: dict[tuple[str, str], list[int]] = {}
        for number, clip in self.clips.items():
            if not clip.settings.loop:
                similar.setdefault((clip.source.target_url, clip.settings.prompt), []).append(number)
        longer: dict[int, int] = {}
        for numbers in similar.values():
            if len(numbers) > 1:
                longer |= self._find_longer(numbers)
        return longer

    def _find_longer(self, numbers: Iterable[int]) -> dict[int, int]:
        groups: dict[tuple[object, ...], list[tuple[Fraction, Fraction, int]]] = {}
        for number in numbers:
            clip = self.clips[number]
            source, speed = clip.source, clip.source.speed
            begin_s = SoundRange.of(source.start_s, clip.duration_s, speed).start_s
            frozen_s = source.start_s if speed == 0 else None
            groups.setdefault((speed, frozen_s, clip.settings), []).append((begin_s, -clip.duration_s, number))
        longer: dict[int, int] = {}
        for members in groups.values():
            longest: tuple[Fraction, int] | None = None
            for begin_s, negative_s, number in sorted(members):
                end_s = begin_s - negative_s
                if longest is not None and end_s <= longest[0]:
                    if not self._is_renewed(self.clips[number]):
                        longer[number] = longest[1]
                else:
                    longest = (end_s, number)
        return longer

    def _variation(self, clip: PromptedClip, base: str) -> int:
        if not self._is_renewed(clip):
            return self.record.variation(base)
        if base not in self._renewed:
            self._renewed[base] = self.record.raise_variation(base)
        return self._renewed[base]

    def _is_renewed(self, clip: PromptedClip) -> bool:
        return any(fnmatch.fnmatchcase(clip.source.name, pattern) for pattern in self.again)

    def _note_chosen_seed(self, clip: PromptedClip) -> None:
        text = (
            f'The clip "{clip.source.name}" keeps its sound, because its settings contain the seed '
            f"{clip.settings.seed}. Change or remove the seed to get another sound."
        )
        if text not in self.notes:
            self.notes.append(text)


def handles(source: ClipSource, wanted_s: Fraction) -> tuple[Fraction, Fraction]:
    """Return how long the handles before and after a clip can be, as shown, up to `wanted_s`.

    If the length of the media is not known, the handle towards its end is empty.
    """
    if source.speed == 0:
        return wanted_s, wanted_s
    begin_s, end_s = source.covered_s
    before_s = max(Fraction(0), begin_s / abs(source.speed))
    known_end_s = end_s if source.media_length_s is None else source.media_length_s
    after_s = max(Fraction(0), (known_end_s - end_s) / abs(source.speed))
    if source.speed < 0:
        before_s, after_s = after_s, before_s
    return min(wanted_s, before_s), min(wanted_s, after_s)


def absolute_location(location: str, folder: Path) -> str:
    """Return the location of a sound with a relative path read from a folder. URLs stay as they are."""
    is_url = "://" in location or location.lower().startswith("file:")
    if is_url or PureWindowsPath(location).drive:
        return location
    path = Path(location)
    with contextlib.suppress(RuntimeError):  # a name that begins with "~" but names no user
        path = path.expanduser()
    return str(folder / path)


def list_wanted_clips(
    listed: Sequence[ListedClip], defaults: ClipSettings, timeline_name: str, folder: Path
) -> list[ListedClip]:
    """Return the clips with a prompt, including those that cannot get a sound, with the defaults filled in.

    The paths of reference sounds become absolute. folder: of the timeline, from which relative paths are read.
    Raises ProblemError (TIMELINE) if there are no such clips.
    """

    absolute = functools.partial(absolute_location, folder=folder)
    wanted = []
    for each in listed:
        if each.clip is not None:
            settings = each.clip.settings.over(defaults).with_references(absolute)
            wanted.append(replace(each, clip=replace(each.clip, settings=settings)))
        elif each.state is ClipState.REFUSED:
            wanted.append(each)
    if not wanted:
        raise ProblemError(
            f'No clip on the video tracks of the timeline "{shorten_name(timeline_name)}" has a prompt.',
            "Give one for all clips with --prompt, fill in a sheet from `rewas timeline sheet` and give it with "
            "--sheet, or let the model pack suggest prompts with --suggest.",
            ProblemKind.TIMELINE,
        )
    return wanted


def check_again_patterns(patterns: Iterable[str], clips: Sequence[PromptedClip]) -> None:
    """Raise ProblemError (SETTINGS) for a pattern that matches the name of no clip."""
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(clip.source.name, pattern) for clip in clips):
            raise ProblemError(
                f'No clip that gets a sound has a name like "{pattern}", which --again names.',
                "Check the name; * stands for any text.",
                ProblemKind.SETTINGS,
            )


__all__ = ["BatchPlan", "WantedSound", "check_again_patterns", "handles", "list_wanted_clips"]
