"""A prompt chooses recordings by meaning and by name, and says if the library has nothing like it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_library import MadeLibrary, noise, strike_sound

from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.recordings.choosing import choose
from rewas_engine.recordings.index import LibraryIndex

STRUCK = {
    "gravel_1.wav": "footsteps on gravel, boots, slow",
    "gravel_2.wav": "footsteps on gravel, boots, fast",
    "wood.wav": "footsteps on wood",
    "slam.wav": "door slam, wooden, heavy",
    "creak.wav": "door creak",
    "bark.wav": "dog bark, large",
    "glass.wav": "glass clink",
}
STEADY = {"light.wav": "light rain on leaves", "heavy.wav": "heavy rain on a roof", "wind.wav": "wind in trees"}


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder.default()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeLibrary:
    rng = np.random.default_rng(0)
    library = MadeLibrary(tmp_path_factory.mktemp("library"))
    for name, words in STRUCK.items():
        library.add_events(name, [strike_sound(rng, 0.5)], words)
    for name, words in STEADY.items():
        library.add_stretch(name, noise(rng, 1, 0.1), words)
    return library


@pytest.fixture(scope="module")
def library(made: MadeLibrary, encoder: SentenceEncoder):
    return made.index(encoder)


def names(library, choice) -> list[str]:
    return [library.recordings[number].path.name for number in choice.recordings]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("someone walking on gravel", {"gravel_1.wav", "gravel_2.wav"}),
        ("door slamming", {"slam.wav"}),
        ("a dog barks", {"bark.wav"}),
        ("clinking glasses", {"glass.wav"}),
        ("rain", {"light.wav", "heavy.wav"}),
    ],
)
def test_the_nearest_recordings_are_chosen(library, encoder, prompt: str, expected: set[str]) -> None:
    choice = choose(library, prompt, encoder)
    assert set(names(library, choice)) == expected
    assert choice.is_known
    assert choice.notice is None


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("footsteps on gravel with heavy rain", {"gravel_1.wav", "gravel_2.wav", "heavy.wav"}),
        ("wind in trees and a dog barking", {"wind.wav", "bark.wav"}),
        ("door slam and door creak", {"creak.wav"}),
        ("light rain over wind in trees", {"wind.wav"}),
        ("glass clink with violins", {"glass.wav"}),
        ("rain on a roof", {"heavy.wav"}),
    ],
)
def test_a_struck_and_a_steady_sound_are_chosen_together(library, encoder, prompt: str, expected: set[str]) -> None:
    assert set(names(library, choose(library, prompt, encoder))) >= expected
    kinds = {library.is_mainly_steady(number) for number in choose(library, prompt, encoder).recordings}
    both = {name in STEADY for name in expected}
    assert kinds == both


@pytest.mark.parametrize("prompt", ["phone ringing", "violin melody", "frying bacon", "a crowd laughs"])
def test_an_unknown_prompt_is_reported_with_the_nearest(library, encoder, prompt: str) -> None:
    choice = choose(library, prompt, encoder)
    assert not choice.is_known
    assert choice.notice is not None
    assert choice.notice.startswith(f"This library has nothing like “{prompt}”. The nearest are “")
    assert len(choice.nearest) == 3


def test_the_next_places_give_other_recordings_and_then_the_first_again(library, encoder) -> None:
    places = [tuple(names(library, choose(library, "footsteps", encoder, place=place))) for place in range(9)]
    first_round = list(dict.fromkeys(places))
    assert sorted(name for group in first_round for name in group) == sorted({**STRUCK, **STEADY})
    assert places[len(first_round)] == places[0]
    counts = [choose(library, "footsteps", encoder, place=place).count for place in range(9)]
    assert counts == [None] * len(first_round) + [len(first_round)] * (9 - len(first_round))


def test_each_recording_is_looked_at_once_wherever_the_place_is(library, encoder, monkeypatch) -> None:
    is_mainly_steady, asked = LibraryIndex.is_mainly_steady, []
    monkeypatch.setattr(
        LibraryIndex, "is_mainly_steady", lambda index, one: asked.append(one) or is_mainly_steady(index, one)
    )
    assert choose(library, "footsteps", encoder, place=1000).count is not None
    assert sorted(asked) == list(range(len(library.recordings)))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("door", "doors", True), ("slam", "slamming", True), ("scream", "screamer", True), ("squeak", "squeaky", True),
        ("ball", "balloon", False), ("cart", "cartoon", False), ("rain", "train", False),
    ],
)  # fmt: skip
def test_a_word_matches_its_other_endings_alone(made: MadeLibrary, one: str, other: str, is_same: bool) -> None:
    index = made.index()
    words = [other, *["something else"] * (len(index.recordings) - 1)]
    renamed = replace(
        index, recordings=tuple(replace(each, words=said) for each, said in zip(index.recordings, words, strict=True))
    )
    assert choose(renamed, one, lambda texts: torch.zeros(len(texts), 1)).is_known == is_same


def test_the_nearest_meaning_is_first_among_recordings_with_the_same_words(tmp_path: Path, encoder) -> None:
    library = MadeLibrary(tmp_path)
    rng = np.random.default_rng(0)
    for words in ("wind chimes in the wind", "wind", "wind and rain"):
        library.add_events(f"{words}.wav", [strike_sound(rng, 0.5)], words)
    index = library.index(encoder)
    choice = choose(index, "wind", encoder)
    assert index.recordings[choice.recordings[0]].words == "wind"
    assert choice.score == 1


def test_words_decide_where_there_are_no_embeddings(made: MadeLibrary, encoder) -> None:
    index = made.index()
    assert names(index, choose(index, "glass", encoder)) == ["glass.wav"]


def test_errors_are_clear(tmp_path: Path, library, encoder) -> None:
    with pytest.raises(SettingsError, match="The prompt is empty"):
        choose(library, " ", encoder)
    with pytest.raises(SettingsError, match="place is -1"):
        choose(library, "rain", encoder, place=-1)
    with pytest.raises(MediaError, match="The library has no sounds"):
        choose(MadeLibrary(tmp_path).index(), "rain", encoder)
