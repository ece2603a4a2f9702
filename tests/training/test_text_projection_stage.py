"""Meanings of synthetic captions, and a text projection that learns them for unknown words."""

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import pytest
import torch
from torch.nn.functional import normalize

from rewas_engine.models.sentence_encoder import SENTENCE_ENCODER
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.training import words_stage
from rewas_engine.training.caption_embeddings import embed_captions
from rewas_engine.training.loop import LoopConfig, train
from rewas_engine.training.words_stage import (
    NOTHING_BEHIND,
    extend_text_projection,
    new_text_projection,
    words_corpus,
    words_loss,
)
from rewas_engine.world import ALL_CLASSES, AMBIENCE_CLASSES, CLASS_NAMES, held_out_captions, sample_scene
from rewas_engine.world.vocabulary import MODIFIERS, find_modifiers, further_captions, unnamed_captions


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a dog barks", set()),
        ("", set()),
        ("a dog barks, far away", {"far"}),
        ("a dog barks, far away and rain", {"far"}),
        ("knocking, faster and faster", {"accelerating"}),
        ("knocking, getting faster, loud", {"accelerating", "loud"}),
        ("knocking, very fast", {"roll"}),
        ("knocking, fast, with wind far behind", {"fast"}),
        ("a fast car close by", set()),
        ("rain, getting louder", {"rising"}),
    ],
)
def test_modifiers_are_read_from_captions(caption: str, expected: set[str]) -> None:
    assert find_modifiers(caption) == expected


def test_every_modifier_is_recognised() -> None:
    for name, phrases in MODIFIERS.items():
        for words in phrases:
            assert name in find_modifiers(f"rain, {words}") & find_modifiers(f"rain, {words}; quieter: wind")


def test_captions_without_a_class() -> None:
    captions = unnamed_captions()
    assert "" in captions
    assert "the sound of something" in captions
    assert not any(caption.endswith((",", ":", "-", " ")) for caption in captions)


def numbered(texts: Sequence[str], width: int = 8) -> torch.Tensor:
    """Replaces a sentence encoder if its output does not matter."""
    return torch.stack(
        [torch.randn(width, generator=torch.Generator().manual_seed(crc32(text.encode()))) for text in texts]
    )


@pytest.mark.parametrize("classes", [CLASS_NAMES, ALL_CLASSES, ("rain", "thunder", "bell")])
def test_captions_have_the_meanings_of_their_scenes(classes: tuple[str, ...]) -> None:
    scenes = [sample_scene(seed, classes=classes) for seed in range(200)]
    corpus = words_corpus(scenes, numbered, classes)
    silence, unnamed = len(classes), len(classes) + 1
    for row, scene in enumerate(scenes):
        front, background = int(corpus.scenes.front[row]), int(corpus.scenes.behind[row])
        assert front == (silence if scene.is_silent else classes.index(scene.class_name))
        if scene.ambience is None:
            assert background == NOTHING_BEHIND
        else:
            assert AMBIENCE_CLASSES[background] == scene.ambience.class_name
    assert {silence, *range(len(classes))} >= set(corpus.scenes.front.tolist())
    assert (corpus.wordless.front == unnamed).all()
    assert set(corpus.plain.front.tolist()) == set(range(len(classes)))
    assert corpus.choices == (len(classes) + 2, len(AMBIENCE_CLASSES) + 1)


def test_meanings_shift_embeddings_like_captions() -> None:
    corpus = words_corpus([sample_scene(seed) for seed in range(50)], numbered)
    projection = new_text_projection(corpus, 16, 3.0)
    assert tuple(projection.config.choices) == corpus.choices
    rows = corpus.plain.front == 0
    mean = corpus.plain.embeddings[rows].mean(dim=0)
    caption_vector = projection.meanings[0] + projection.meanings[corpus.choices[0] + NOTHING_BEHIND]
    assert torch.cosine_similarity(caption_vector, mean, dim=0) > 0.5
    assert not projection.meanings.requires_grad


def test_further_classes_keep_the_known_meanings() -> None:
    torch.manual_seed(0)
    few, more = ("rain", "bell", "door"), ("bell", "thunder", "rain", "door", "lift_chime")

    def wide(texts: Sequence[str]) -> torch.Tensor:
        return numbered(texts, 128)  # room for orthogonal vectors

    corpora = [
        words_corpus([sample_scene(seed, classes=names) for seed in range(40)], wide, names) for names in (few, more)
    ]
    known, projection = (new_text_projection(corpus, 16, 3.0) for corpus in corpora)
    assert extend_text_projection(projection, known, more, few)
    prompts = wide(["rain", "a bell", "something else"])
    before, after = known.meaning_logits(prompts), projection.meaning_logits(prompts)
    for number, name in enumerate(few):
        assert torch.equal(projection.meanings[more.index(name)], known.meanings[number])
        assert torch.allclose(after[:, more.index(name)], before[:, number])
    assert torch.equal(projection.meanings[len(more) :], known.meanings[len(few) :])
    assert torch.allclose(after[:, len(more) :], before[:, len(few) :])
    for name in ("thunder", "lift_chime"):
        vector = projection.meanings[more.index(name)]
        others = torch.cat([projection.meanings[: more.index(name)], projection.meanings[more.index(name) + 1 :]])
        assert (normalize(others, dim=1) @ normalize(vector, dim=0)).abs().max() < 1e-4
        assert float(vector.norm()) == pytest.approx(float(known.meanings[: len(few)].norm(dim=1).mean()))


def test_a_projection_of_another_size_is_not_extended() -> None:
    few, more = ("rain", "bell"), ("rain", "bell", "door")
    corpora = [
        words_corpus([sample_scene(seed, classes=names) for seed in range(20)], numbered, names)
        for names in (few, more)
    ]
    known, projection = new_text_projection(corpora[0], 16, 3.0), new_text_projection(corpora[1], 8, 3.0)
    before = projection.meanings.clone()
    assert not extend_text_projection(projection, known, more, few)
    assert torch.equal(projection.meanings, before)


@pytest.mark.slow
def test_unknown_words_move_towards_their_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceEncoder(**SENTENCE_ENCODER)

    def embed(texts: Sequence[str]) -> torch.Tensor:
        return embed_captions(texts, encoder, tmp_path)

    # A quarter of the phrases is enough here; embedding all of them takes most of a minute.
    monkeypatch.setattr(words_stage, "further_captions", lambda name: further_captions(name)[::4])
    corpus = words_corpus([sample_scene(seed) for seed in range(300)], embed)
    torch.manual_seed(0)
    projection = new_text_projection(corpus, 128, encoder.scale)
    config = LoopConfig(steps=250, learning_rate=2e-3, warmup_steps=10)
    train("words", projection, words_loss(corpus, projection), config, folder=tmp_path, seed=1)
    unread = [(number, words) for number, name in enumerate(CLASS_NAMES) for words in held_out_captions(name)]
    true, sentences = torch.tensor([number for number, _ in unread]), embed([words for _, words in unread])

    def nearest(read: torch.Tensor, unread: torch.Tensor) -> torch.Tensor:
        middles = torch.stack([normalize(read[corpus.plain.front == n], dim=1).mean(dim=0) for n in range(27)])
        return normalize(unread, dim=1) @ normalize(middles, dim=1).T

    with torch.inference_mode():
        before = nearest(corpus.plain.embeddings, sentences)
        after = nearest(projection(corpus.plain.embeddings), projection(sentences))
    rows = torch.arange(len(true))
    assert (after.argmax(dim=1) == true).float().mean() > 0.85
    assert after[rows, true].mean() > before[rows, true].mean() + 0.1


def test_a_step_depends_only_on_its_generator() -> None:
    corpus = words_corpus([sample_scene(seed) for seed in range(20)], numbered)
    loss = words_loss(corpus, new_text_projection(corpus, 8, 2.0))
    first, again = (float(loss(0, torch.Generator().manual_seed(3)).detach()) for _ in range(2))
    assert first == again
    assert first != float(loss(0, torch.Generator().manual_seed(4)).detach())
