"""Prompts that the starter pack knows and prompts that it does not, as editors type them."""

import numpy as np
import pytest

from rewas_engine import VideoClip
from rewas_engine.matching.sound_kinds import (
    SoundKinds,
    embed_phrases,
    table_embeddings,
    table_phrases,
)
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.pipeline import ReWaS

_UNKNOWN_TEXT = """
footsteps in heels on concrete, keys jingling, cloth rustling, sword clash, crowd cheering, thunder, water splash,
phone ringing, glass breaking, whoosh, punch, paper crumpling, crickets, explosion, siren, cat meowing, baby crying,
horse galloping, train passing, dripping faucet, coffee pouring, zipper, chair creaking, body fall, heartbeat, coins
dropping, bow and arrow, chains rattling, saw cutting wood, drill, shaver, vacuum cleaner, restaurant chatter,
traffic, crow cawing, frog, bubbles, steam hiss, elevator ding, typewriter bell
"""
_KNOWN_TEXT = """
rain on a roof, a hammer knocking on wood, footsteps on gravel, dog barking, door slams shut, church bell, clock
ticking, wind howling, ocean waves, campfire crackling, car engine idling, helicopter, alarm beeping, birds singing,
river stream, car passing by, applause, gunshot, typing on a keyboard, drum, hand clap, ball bouncing, glasses
clinking, metal clang
"""
UNKNOWN, KNOWN = (
    tuple(prompt.strip() for prompt in text.replace("\n", " ").split(",")) for text in (_UNKNOWN_TEXT, _KNOWN_TEXT)
)
FOREIGN = ("Katze miaut", "雨の音", "шум дождя", "😀🔨", "1234", "?")


@pytest.fixture(scope="module")
def starter() -> ReWaS:
    return ReWaS.from_pretrained("starter", device="cpu")


@pytest.mark.weights
@pytest.mark.parametrize("prompt", [*UNKNOWN, *FOREIGN])
def test_an_unknown_prompt_is_told(starter: ReWaS, prompt: str) -> None:
    found = starter.check_familiarity(prompt)
    assert found is not None
    assert not found.is_known
    assert set(found.nearest) <= set(starter.joint_scorer.known_words)


@pytest.mark.weights
def test_hardly_any_known_prompt_is_told(starter: ReWaS) -> None:
    told = [prompt for prompt in KNOWN if not starter.check_familiarity(prompt).is_known]
    assert len(KNOWN) == 24
    assert len(told) <= 1


@pytest.mark.weights
def test_the_nearest_words_can_help(starter: ReWaS) -> None:
    assert "a bell ringing" in starter.check_familiarity("phone ringing").nearest
    assert starter.check_familiarity("雨の音").nearest == ()


def test_the_stored_embeddings_are_those_of_the_encoder() -> None:
    encoder = SentenceEncoder.default()
    phrases = table_phrases()
    assert len(phrases) == len(set(phrases)) == len(table_embeddings())
    chosen = list(range(0, len(phrases), 23))
    computed = embed_phrases(encoder, [phrases[place] for place in chosen])
    cosines = (computed * table_embeddings()[chosen]).sum(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=2e-3)


@pytest.mark.parametrize(
    ("prompt", "character"),
    [
        ("heavy rain on a tent", "steady"),
        ("a diesel engine idles", "steady"),
        ("someone hammers a nail into a board", "struck"),
        ("heels walk across the marble hall", "struck"),
        ("a small dog barks twice", "varied"),
        ("a woman laughs", "varied"),
        ("雨の音", "varied"),
    ],
)
def test_the_character_follows_from_the_words(prompt: str, character: str) -> None:
    assert SoundKinds().character(prompt) == character


@pytest.mark.weights
def test_an_unknown_prompt_gets_a_note_and_no_score(starter: ReWaS, long_clip) -> None:
    result = starter.generate(VideoClip(long_clip, duration="1"), prompt="phone ringing", seed=1)
    (note,) = [note for note in result.notes if note.kind == "unknown_prompt"]
    assert "“phone ringing”" in note.text
    assert "“a bell ringing”" in note.text
    assert result.takes[0].score is None
    assert result.takes[0].text_score is None
    assert not result.familiarity.is_known
