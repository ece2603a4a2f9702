"""The question for words: what is sent, and what the panel gets."""

from fractions import Fraction

import opentimelineio as otio
from test_sound_work import CLIP

from rewas_api.v1 import rewas_pb2
from rewas_nle.core.description_question import DescriptionQuestion, SuggestedWords


def test_the_request_is_the_range_of_the_clip_without_a_choice_of_models() -> None:
    question = DescriptionQuestion("starter")
    work = question.build_work(CLIP, {"/a.mp4": "0" * 64})
    sent = otio.adapters.read_from_string(work.clip_otio_json)
    shown = sent.source_range
    assert Fraction(shown.duration.to_seconds()).limit_denominator(1000) == CLIP.source_duration_s
    assert (work.pack, dict(work.uploaded_media)) == ("starter", {"/a.mp4": "0" * 64})
    assert set(work.DESCRIPTOR.fields_by_name) == {"clip_otio_json", "uploaded_media", "pack"}
    assert not DescriptionQuestion().build_work(CLIP, {}).HasField("pack")
    assert question.media_path(CLIP) == CLIP.path
    assert question.minor_version == 6


def test_the_answer_has_prompts_with_and_without_scores() -> None:
    result = rewas_pb2.DescriptionResult(
        picture="A dog.",
        sound="Barking.",
        suggestions=[
            rewas_pb2.DescriptionPrompt(prompt="a dog barks", score=0.0, origin=rewas_pb2.PROMPT_ORIGIN_SOUND),
            rewas_pb2.DescriptionPrompt(prompt="a dog", origin=rewas_pb2.PROMPT_ORIGIN_PICTURE),
            rewas_pb2.DescriptionPrompt(prompt=" "),
        ],
        notes=["The clip has no sound."],
    )
    answer = DescriptionQuestion().read_answer(rewas_pb2.Job(description=result))
    assert (answer.picture, answer.sound, answer.notes) == ("A dog.", "Barking.", ("The clip has no sound.",))
    assert answer.suggestions == (SuggestedWords("a dog barks", 0.0, True), SuggestedWords("a dog", None, False))
