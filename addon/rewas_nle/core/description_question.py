# SPDX-License-Identifier: GPL-3.0-or-later
"""The question for words: what a clip shows, how it sounds, and prompts for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..timeline.strips import SelectedClip
from .sound_work import build_description_work

if TYPE_CHECKING:
    from rewas_api.v1 import rewas_pb2

MINOR_VERSION = 6
"""Minor version of the contract in which servers began to describe clips."""


@dataclass(frozen=True)
class SuggestedWords:
    """A prompt for a clip.

    score: probability that it is right, None if the server's model states none. is_heard: whether it describes the
    clip's own sound instead of its picture.
    """

    prompt: str
    score: float | None
    is_heard: bool


@dataclass(frozen=True)
class DescriptionAnswer:
    """The description of a clip.

    picture, sound: one sentence each, "" if nothing is known. suggestions: prompts, the best one first. notes: remarks
    of the server, as sentences.
    """

    picture: str
    sound: str
    suggestions: tuple[SuggestedWords, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DescriptionQuestion:
    """Which words describe a clip? pack: None for the server's default."""

    pack: str | None = None

    @property
    def minor_version(self) -> int:
        """Minor version of the contract that the server needs."""
        return MINOR_VERSION

    def media_path(self, clip: SelectedClip) -> str:
        """Return the file that the server must read."""
        return clip.path

    def build_work(self, clip: SelectedClip, uploaded: Mapping[str, str]) -> rewas_pb2.DescriptionWork:
        """Return the work of the contract."""
        return build_description_work(clip, self.pack, uploaded)

    def read_answer(self, job: rewas_pb2.Job) -> DescriptionAnswer:
        """Return the answer."""
        return read_description(job.description)


def read_description(result: rewas_pb2.DescriptionResult) -> DescriptionAnswer:
    """Return a description as plain values."""
    from rewas_api.v1 import rewas_pb2

    return DescriptionAnswer(
        picture=result.picture,
        sound=result.sound,
        suggestions=tuple(
            SuggestedWords(
                item.prompt,
                item.score if item.HasField("score") else None,
                item.origin == rewas_pb2.PROMPT_ORIGIN_SOUND,
            )
            for item in result.suggestions
            if item.prompt.strip()
        ),
        notes=tuple(result.notes),
    )
