"""Decides which sounds each picture of a timeline gets, from all places where a prompt can be.

Each setting comes from the first of these that has it:

1. the row of the spotting sheet for this clip
2. metadata["rewas"] of the clip
3. markers and comments (`marker_prompts`)
4. the first rule whose pattern matches the name of the clip, of its media or of its track
5. metadata["rewas"] of the stack or track that contains the clip, the innermost first, then of the timeline
6. the prompt for all clips
7. the suggestion of a model pack

A row or a marker with a range inside a clip requests a sound for this range, in addition to the sound that 1 to 3
request for the whole clip. The prompts of 4 to 7 are used only for clips without any of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import opentimelineio as otio

from rewas_api.clip_settings import MAX_PROMPT_CHARACTERS, METADATA_KEY, ClipSettings, read_clip_settings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.layer_settings import LayerSettings
from rewas_server.otio.clip_keys import unknown_key_notes
from rewas_server.otio.clips import clip_label
from rewas_server.otio.flat_settings import flat_values, settings_fields
from rewas_server.otio.marker_prompts import LABELLED, Spot, Spots, find_spots
from rewas_server.otio.metadata import has_key
from rewas_server.otio.overlaps import PictureIndex
from rewas_server.otio.pictures import Picture
from rewas_server.otio.sheet_matching import SheetMatches, match_sheet
from rewas_server.otio.spotting_sheet import SpottingSheet

AMBIENCE = "ambience"
"""Name of the layer with the background of a scene."""
_SCOPES = ("clip", "media", "track")
_OF_THE_WHOLE_CLIP = frozenset(
    {"prompt", "layers", "mix", "loop", "seed", "negative_prompt", "gain_db", "performance.place", AMBIENCE, "track"}
)
"""Settings that a sound for part of a clip does not take from the clip."""
PictureKey = tuple[tuple[int, ...], int]
"""The path of a clip and the number of its visible part."""


@dataclass(frozen=True)
class PromptRule:
    """A prompt for all clips whose name matches a pattern.

    Attributes:
        pattern: As in file names: "door*".
        prompt: Description of the sound.
        scope: What the pattern is compared with: "clip", "media" or "track"; "" for any of them.
    """

    pattern: str
    prompt: str
    scope: str = ""

    def matches(self, clip_name: str, media_name: str, track_name: str) -> bool:
        """Whether the rule applies to a clip. Case does not matter."""
        names = {"clip": clip_name, "media": media_name, "track": track_name}
        chosen = [names[self.scope]] if self.scope else names.values()
        return any(fnmatchcase(name.casefold(), self.pattern.casefold()) for name in chosen if name)

    def __str__(self) -> str:
        return f"{self.scope}:{self.pattern}" if self.scope else self.pattern


@dataclass(frozen=True)
class PromptOptions:
    """Where prompts come from besides the timeline itself.

    Attributes:
        prompt: For all clips that have none.
        rules: For clips by name; the first that matches counts.
        markers: Which markers count: "labelled", "all", "none", or a colour.
        sheet: The spotting sheet.
        suggestions: Prompts that a pack suggests.
    """

    prompt: str = ""
    rules: tuple[PromptRule, ...] = ()
    markers: str = LABELLED
    sheet: SpottingSheet | None = None
    suggestions: Mapping[PictureKey, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ChosenPrompt:
    """A sound for a picture.

    Attributes:
        settings: What to generate. Without a prompt if there is a problem.
        origin: Where the prompt comes from, for reports: "the clip", "row 7 of sheet.csv".
        position_s: Start on the timeline, from its first frame.
        duration_s: Within the picture.
        track: The delivery track that the editor wants, for example "FOLEY"; None for that of the profile.
        problem: Why this sound cannot be generated.
    """

    settings: ClipSettings
    origin: str
    position_s: Fraction
    duration_s: Fraction
    track: str | None = None
    problem: ProblemError | None = None


@dataclass(frozen=True)
class PromptChoices:
    """The sounds of a timeline.

    Attributes:
        sounds: Of each picture, in the order of the pictures; () for those without a prompt.
        silenced: Why a picture has no sound although there is a prompt for it, by its index.
        problems: Rows of the sheet and markers that cannot be used, because they are not on a picture.
        notes: Sentences about rows and markers that were used, and about metadata that is ignored.
        matches: The rows of the sheet, by picture.
    """

    sounds: tuple[tuple[ChosenPrompt, ...], ...]
    silenced: Mapping[int, str] = field(default_factory=dict)
    problems: tuple[ProblemError, ...] = ()
    notes: tuple[str, ...] = ()
    matches: SheetMatches = field(default_factory=SheetMatches)


def parse_prompt_rule(text: str) -> PromptRule:
    """Parse a rule: "door*=a heavy wooden door", or with what the pattern is for: "track:V2=rain".

    Raises ProblemError (SETTINGS), which names the option --prompt-for.
    """
    pattern, separator, prompt = text.partition("=")
    scope, colon, rest = pattern.partition(":")
    if colon and scope.strip().lower() in _SCOPES:
        scope, pattern = scope.strip().lower(), rest
    else:
        scope = ""
    pattern = pattern.strip()
    if not separator or not pattern:
        raise ProblemError(
            f'--prompt-for is "{text[:80]}".',
            "Write a pattern for names, an equals sign and a prompt: --prompt-for 'door*=a heavy wooden door'.",
            ProblemKind.SETTINGS,
        )
    return PromptRule(pattern, check_prompt(prompt, f'The prompt for "{pattern[:80]}"'), scope)


def check_prompt(prompt: str, owner: str) -> str:
    """Return a prompt without the spaces around it. Raises ProblemError (SETTINGS) if it is empty or too long."""
    prompt = prompt.strip()
    if not prompt:
        raise ProblemError(f"{owner} is empty.", "Describe the sound.", ProblemKind.SETTINGS)
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise ProblemError(
            f"{owner} has {len(prompt)} characters.",
            f"Shorten it to at most {MAX_PROMPT_CHARACTERS}.",
            ProblemKind.SETTINGS,
        )
    return prompt


def choose_prompts(
    timeline: otio.schema.Timeline,
    pictures: Sequence[Picture],
    options: PromptOptions,
    frame_rate: Fraction,
    start_s: Fraction,
) -> PromptChoices:
    """Decide which sounds the pictures of a timeline get.

    Args:
        timeline: The timeline.
        pictures: Its pictures, including those without a prompt.
        options: Where prompts come from besides the timeline itself.
        frame_rate: Of the timeline's timecode, in frames per second.
        start_s: Timecode of the timeline's first frame, in seconds.
    """
    index = PictureIndex(pictures)
    spots = find_spots(timeline, pictures, index, options.markers, start_s)
    matches = SheetMatches()
    if options.sheet is not None:
        matches = match_sheet(options.sheet, pictures, index, frame_rate, start_s)
    chooser = _Chooser(timeline, options, spots, matches, frame_rate)
    sounds = tuple(tuple(chooser.choose(index, picture)) for index, picture in enumerate(pictures))
    sheet_note = (options.sheet.note,) if options.sheet is not None and options.sheet.note else ()
    return PromptChoices(
        sounds,
        chooser.silenced,
        (*matches.problems, *spots.problems),
        (*unknown_key_notes(pictures), *sheet_note, *matches.notes),
        matches,
    )


@dataclass(frozen=True)
class _Source:
    """Settings from one place.

    values: by the names of ClipSettings' fields, and "ambience" and "track". settings: the same as an object, if known.
    """

    values: Mapping[str, Any]
    origin: str
    problem: ProblemError | None = None
    settings: ClipSettings | None = None


_NO_SETTINGS = ClipSettings()


class _Chooser:
    def __init__(
        self,
        timeline: otio.schema.Timeline,
        options: PromptOptions,
        spots: Spots,
        matches: SheetMatches,
        frame_rate: Fraction,
    ) -> None:
        self._timeline = timeline
        self._frame_rate = frame_rate
        self._options = options
        self._spots = spots
        self._matches = matches
        self._rules = [(rule, _Source({"prompt": rule.prompt}, f"the rule {rule}")) for rule in options.rules]
        self._for_all = [_Source({"prompt": options.prompt}, "--prompt")] if options.prompt else []
        self._above: dict[tuple[int, ...], list[_Source]] = {}
        self._suggested: dict[str, _Source] = {}
        # Most clips get their prompts from the same few sources, which live as long as this object.
        self._settings: dict[tuple[int, ...], tuple[ClipSettings, str, str | None]] = {}
        self.silenced: dict[int, str] = {}

    def choose(self, index: int, picture: Picture) -> list[ChosenPrompt]:
        """Return the sounds of a picture."""
        if picture.hidden or not isinstance(picture.clip, otio.schema.Clip):
            return []
        rows = self._matches.whole.get(index, ())
        own = _read_own(picture)
        marked = self._marker_source(index)
        if any(row.values.get("prompt") for row in rows):
            # The sheet may have been written from the markers, so only settings without a column are added.
            marked = [_only(source, {"more_layers"}) for source in marked]
        ranged = self._ranged(index)
        # A prompt for all clips is not meant for titles.
        is_filled = not ranged and not isinstance(picture.clip.media_reference, otio.schema.GeneratorReference)
        fallback = [*self._rule(picture), *self._containers(picture), *self._for_all] if is_filled else []
        if is_filled and (suggested := self._options.suggestions.get((picture.path, picture.part))):
            fallback.append(self._suggested.setdefault(suggested, _Source({"prompt": suggested}, "suggested")))
        below = [*own, *marked, *(fallback if is_filled else self._without_prompts(picture))]
        found = []
        if rows:
            # Rows with different tracks are different sounds.
            for row in rows:
                found += self._sound(index, picture, [_Source(row.values, row.origin, row.problem), *below])
        elif own or marked or not is_filled:
            found += self._sound(index, picture, below)
        else:
            found += self._common_sound(index, picture, below)
        for source, begin_s, end_s in ranged:
            above = [source, *map(_of_a_part, [*own, *self._containers(picture)])]
            part = self._sound(index, picture, above)
            found += [replace(sound, position_s=begin_s, duration_s=end_s - begin_s) for sound in part]
        return found

    def _common_sound(self, index: int, picture: Picture, sources: Sequence[_Source]) -> list[ChosenPrompt]:
        """Return the sound from sources that are not only this clip's. Most clips share the same few of them."""
        key = tuple(map(id, sources))
        known = self._settings.get(key)
        if known is None:
            found = self._sound(index, picture, sources)
            if len(found) == 1 and found[0].problem is None:
                self._settings[key] = found[0].settings, found[0].origin, found[0].track
            return found
        settings, origin, track = known
        return [ChosenPrompt(settings, origin, picture.position_s or Fraction(0), picture.duration_s, track)]

    def _sound(self, index: int, picture: Picture, sources: Sequence[_Source]) -> list[ChosenPrompt]:
        merged: dict[str, Any] = {}
        origin, is_blank = "", False
        for source in sources:
            for name, value in source.values.items():
                if name == "prompt" and isinstance(value, str) and not value.strip():
                    is_blank = True
                elif name not in merged:
                    merged[name] = value
                    origin = source.origin if name == "prompt" or (name == AMBIENCE and not origin) else origin
        if "prompt" in merged and merged["prompt"] is None:
            self.silenced[index] = f"{origin[0].upper()}{origin[1:]} asks for no sound."
            return []
        chosen = ChosenPrompt(_NO_SETTINGS, origin, picture.position_s or Fraction(0), picture.duration_s)
        problem = next((source.problem for source in sources if source.problem is not None), None)
        if problem is None and not merged.get("prompt") and not merged.get(AMBIENCE):
            if not is_blank:
                return []
            problem = ProblemError(
                f"{clip_label(picture.clip)} has an empty prompt.",
                "Describe the sound, or remove the empty prompt.",
                ProblemKind.TIMELINE,
            )
        if problem is not None:
            return [replace(chosen, problem=problem)]
        track = merged.pop("track", None)
        if track is None and not merged.get("prompt"):
            track = "AMB"
        try:
            whole = sources[0].settings if len(sources) == 1 else None
            return [replace(chosen, settings=whole or _merge_settings(merged), track=track)]
        except ProblemError as error:
            return [replace(chosen, problem=_naming(error, clip_label(picture.clip)))]

    def _marker_source(self, index: int) -> list[_Source]:
        spots = self._spots.whole.get(index)
        if not spots:
            return []
        sources = [_spot_source(spot) for spot in spots if spot.settings is not None]
        texts = [spot for spot in spots if spot.settings is None]
        ambience = next((spot for spot in texts if spot.track == "AMB"), None)
        others = [spot for spot in texts if spot is not ambience]
        values: dict[str, Any] = {}
        if others:
            first, *more = others
            values = {"prompt": first.text, "track": first.track}
            if more:
                values["more_layers"] = tuple(more)
        if ambience is not None:
            values[AMBIENCE] = ambience.text
        if values:
            origins = dict.fromkeys(spot.origin for spot in texts)
            sources.append(_Source({k: v for k, v in values.items() if v is not None}, " and ".join(origins)))
        return sources

    def _ranged(self, index: int) -> list[tuple[_Source, Fraction, Fraction]]:
        rows = [
            (_Source(row.values, row.origin, row.problem), begin_s, end_s)
            for row, begin_s, end_s in self._matches.ranged.get(index, ())
            if row.values or row.problem
        ]
        # A sheet that was written from the timeline has rows for its markers.
        taken = {self._frames(begin_s, end_s) for _, begin_s, end_s in rows}
        marked = [
            (_spot_source(each.spot), each.begin_s, each.end_s)
            for each in self._spots.ranged.get(index, ())
            if self._frames(each.begin_s, each.end_s) not in taken
        ]
        return [*rows, *marked]

    def _frames(self, begin_s: Fraction, end_s: Fraction) -> tuple[int, int]:
        return round(begin_s * self._frame_rate), round(end_s * self._frame_rate)

    def _rule(self, picture: Picture) -> list[_Source]:
        if not self._rules:
            return []
        media_name = _media_name(picture.clip)
        return [source for rule, source in self._rules if rule.matches(picture.name, media_name, picture.track_name)][
            :1
        ]

    def _containers(self, picture: Picture) -> list[_Source]:
        """Return the settings of the stacks, the track and the timeline that contain a clip, the innermost first."""
        key = picture.path[:-1]
        if key not in self._above:
            items = [*reversed(picture.parents), self._timeline]
            self._above[key] = [
                source
                for item in items
                for source in _read_source(item, _container_label(item), _container_origin(item))
            ]
        return self._above[key]

    def _without_prompts(self, picture: Picture) -> list[_Source]:
        return [
            replace(
                source, settings=None, values={name: value for name, value in source.values.items() if name != "prompt"}
            )
            for source in self._containers(picture)
        ]


def _merge_settings(merged: dict[str, Any]) -> ClipSettings:
    """Return the settings from merged values. Raises ProblemError (SETTINGS) if they are not compatible."""
    ambience = merged.get(AMBIENCE)
    more: tuple[Spot, ...] = merged.get("more_layers") or ()
    known = settings_fields(merged)
    layers = [layer for layer in known.get("layers", ()) if AMBIENCE not in merged or layer.name != AMBIENCE]
    if not known.get("prompt"):
        # An ambience alone does not follow the picture, so it becomes a steady loop.
        known["prompt"] = ambience
        known.setdefault("loop", not known.get("new_sound_at_cuts"))
    elif ambience:
        layers.append(LayerSettings(AMBIENCE, ambience))
    for spot in more:
        taken = {layer.name for layer in layers}
        base = (spot.track or "sound").lower()
        name = next(
            name for number in range(1, 100) if (name := f"{base}-{number}" if number > 1 else base) not in taken
        )
        layers.append(LayerSettings(name, spot.text, energy="following"))
    if layers or "layers" in known:
        known["layers"] = tuple(layers)
    return ClipSettings(**known)


def _read_own(picture: Picture) -> list[_Source]:
    """Return the settings in the metadata of a clip, if there are any."""
    if METADATA_KEY not in picture.metadata_keys:
        return []
    return [_metadata_source(picture.clip.metadata, clip_label(picture.clip), "the clip")]


def _read_source(item: Any, label: str, origin: str) -> list[_Source]:
    """Return the settings in the metadata of an item, if there are any. label: its name in messages."""
    metadata = item.metadata
    return [_metadata_source(metadata, label, origin)] if has_key(metadata, METADATA_KEY) else []


def _metadata_source(metadata: Any, label: str, origin: str) -> _Source:
    try:
        settings = read_clip_settings(SimpleNamespace(name="", metadata=metadata), label)
    except ProblemError as problem:
        return _Source({}, origin, _naming(problem, label))
    if settings is None:
        return _Source({}, origin)
    values = flat_values(settings)
    held = metadata[METADATA_KEY]
    if "prompt" not in values and has_key(held, "prompt") and held["prompt"] is not None:
        values["prompt"] = ""
    if has_key(held, "track") and isinstance(held["track"], str) and held["track"].strip():
        values["track"] = held["track"].strip()
    return _Source(values, origin, settings=settings)


def _spot_source(spot: Spot) -> _Source:
    values: dict[str, Any] = {}
    if spot.settings is not None:
        held = _metadata_source({METADATA_KEY: spot.settings}, spot.origin[0].upper() + spot.origin[1:], spot.origin)
        if held.problem is not None:
            return held
        values = dict(held.values)
    if spot.text:
        values["prompt"] = spot.text
    if spot.track:
        values["track"] = spot.track
    return _Source(values, spot.origin)


def _only(source: _Source, names: set[str]) -> _Source:
    return replace(source, settings=None, values={k: v for k, v in source.values.items() if k in names})


def _of_a_part(source: _Source) -> _Source:
    """Return the settings that a sound for part of a clip takes from the clip and from its containers."""
    return replace(
        source, settings=None, values={k: v for k, v in source.values.items() if k not in _OF_THE_WHOLE_CLIP}
    )


def _naming(problem: ProblemError, label: str) -> ProblemError:
    """Return a problem about "the clip" as one that names the clip or its container."""
    owner = label[0].lower() + label[1:]
    what = problem.what if owner in problem.what else problem.what.replace("the clip", owner, 1)
    return ProblemError(what, problem.remedy, ProblemKind.TIMELINE)


def _media_name(clip: Any) -> str:
    reference = clip.media_reference
    url = reference.target_url if isinstance(reference, otio.schema.ExternalReference) else ""
    return str(url or "").replace("\\", "/").rstrip("/").rpartition("/")[2]


def _container_label(item: Any) -> str:
    return f'The timeline "{item.name}"' if isinstance(item, otio.schema.Timeline) else clip_label(item)


def _container_origin(item: Any) -> str:
    label = _container_label(item)
    return label[0].lower() + label[1:]


__all__ = [
    "ChosenPrompt",
    "PictureKey",
    "PromptChoices",
    "PromptOptions",
    "PromptRule",
    "check_prompt",
    "choose_prompts",
    "parse_prompt_rule",
]
