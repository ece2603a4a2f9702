"""Verdicts on prompt and video: their evidence, mismatched spans, suggested prompts, and policies."""

import shutil
import threading
import tomllib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import (
    Cancelled,
    ConflictError,
    Output,
    PackError,
    ReWaS,
    Sampling,
    SettingsError,
    Suggestion,
    VideoClip,
)
from rewas_engine.conditioning.controls import Controls
from rewas_engine.matching.evidence import (
    AGREE_THRESHOLD,
    CONFLICT_THRESHOLD,
    FAMILIARITY_THRESHOLD,
    MIN_PROMPT_WEIGHT,
    Evidence,
    EvidenceSpan,
    MatchScores,
    conflict_report,
    gather_evidence,
    mismatched_spans,
    prompt_weight,
)
from rewas_engine.matching.label_bank import Label, vggsound_names
from rewas_engine.matching.report import ConflictReport
from rewas_engine.models.joint import JointSpace
from rewas_engine.packs.components import save_component
from rewas_engine.packs.description import write_description

KNOWN = ("a dog barking", "rain falling", "a church bell")


def evidence(
    probability: float, parts: list[float], *, rival: float = 0.95, elsewhere: float = 0.1, familiarity: float = 0.9
) -> Evidence:
    """Evidence with spans of one second.

    Args:
        rival: Probability of the best other label for the whole clip.
        elsewhere: Probability of the best other label in each span.
    """
    spans = [
        EvidenceSpan(Fraction(n), Fraction(n + 1), value, "rain falling", elsewhere) for n, value in enumerate(parts)
    ]
    rivals = (Suggestion("rain falling", rival, "pack"), Suggestion("hail", rival / 2, "vggsound"))
    return Evidence(probability, spans, rivals, familiarity)


@pytest.mark.parametrize(
    ("found", "verdict", "message"),
    [
        (evidence(0.93, [0.9, 0.95]), "agree", "matches “a bell”."),
        (
            evidence(0.93, [0.9, 0.9, 0.9, 0.1], elsewhere=0.9),
            "agree",
            "but looks like “rain falling” from 3.0 s to 4.0 s",
        ),
        (evidence(0.93, [0.9, 0.1], elsewhere=0.9), "unsure", "but looks like “rain falling” from 1.0 s to 2.0 s"),
        (evidence(0.02, [0.1, 0.01]), "conflict", "like “rain falling”, not like “a bell”."),
        (evidence(0.02, [0.1, 0.8, 0.1]), "unsure", "matches “a bell” from 1.0 s to 2.0 s, but not throughout"),
        (evidence(0.02, [0.1], rival=0.4), "unsure", "shows nothing that the model knows"),
        (evidence(0.02, [0.1], familiarity=0.3), "unsure", "“a bell” is not known well enough"),
        (evidence(0.4, [0.4]), "unsure", "may match “a bell”, but looks more like “rain falling”"),
    ],
)
def test_verdicts_follow_from_the_evidence(found: Evidence, verdict: str, message: str) -> None:
    report = conflict_report("a bell", found, "a test encoder")
    assert (report.verdict, report.score, report.encoder) == (verdict, found.probability, "a test encoder")
    assert message in report.explanation
    assert report.explanation.endswith(".")


@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(0, 1), st.floats(-1, 1))
def test_a_conflict_needs_strong_evidence(
    probability: float, parts: list[float], rival: float, familiarity: float
) -> None:
    found = evidence(probability, parts, rival=rival, elsewhere=rival, familiarity=familiarity)
    report = conflict_report("a bell", found)
    assert report.score == pytest.approx(probability, abs=1e-4)
    if report.verdict == "conflict":
        assert probability < CONFLICT_THRESHOLD < AGREE_THRESHOLD <= rival
        assert max(parts) < AGREE_THRESHOLD
        assert familiarity >= FAMILIARITY_THRESHOLD
    for suggestion in report.suggestions:
        assert report.verdict != "agree"
        assert suggestion.score > probability
    for earlier, later in pairwise(report.spans):
        assert earlier.end_s < later.start_s


def test_adjacent_mismatched_spans_are_merged() -> None:
    parts = [(0.9, "rain", 0.1), (0.1, "rain", 0.9), (0.3, "wind", 0.8), (0.2, "rain", 0.9), (0.1, "rain", 0.3)]
    spans = [EvidenceSpan(Fraction(n, 2), Fraction(n + 1, 2), *part) for n, part in enumerate(parts)]
    (merged,) = mismatched_spans(spans)
    assert (merged.start_s, merged.end_s, merged.looks_like) == (Fraction(1, 2), 2, "rain")
    assert merged.score == pytest.approx(0.2)
    assert mismatched_spans(spans[:1]) == ()


class GivenMatcher:
    """Knows three labels of two meanings."""

    name = "given"
    labels = (Label("rain", "pack", "rain"), Label("raining", "vggsound", "rain"), Label("bell", "pack", "bell"))

    def familiarity(self, prompt: str) -> tuple[str, float]:
        return ("bell", 1.0) if prompt == "chimes" else ("rain", 0.2)

    def load_frames(self, *arguments: object) -> np.ndarray:
        raise AssertionError("the frames were read")

    def match(self, *arguments: object) -> MatchScores:
        raise AssertionError("the frames were embedded")


def test_rivals_have_distinct_meanings_other_than_the_prompts() -> None:
    spans_s = [(Fraction(0), Fraction(2)), (Fraction(1), Fraction(3))]
    labels = np.array([[0.2, 0.9, 0.99], [0.4, 0.1, 0.99]])
    scores = MatchScores(0.3, np.array([0.5, 0.6, 0.99]), spans_s, np.array([0.0, 1.0]), labels)
    found = gather_evidence(GivenMatcher(), "chimes", scores)
    assert found.rivals == (Suggestion("raining", 0.6, "vggsound"),)
    assert [(span.start_s, span.end_s) for span in found.spans] == [(0, 1), (1, 2), (2, 3)]
    assert [span.probability for span in found.spans] == [0, 0.5, 1]
    assert [span.rival_probability for span in found.spans] == [0.9, 0.5, 0.1]
    # An unknown prompt may have any meaning, so no label is left out for it.
    assert [rival.text for rival in gather_evidence(GivenMatcher(), "tuba", scores).rivals] == ["bell", "raining"]


@given(st.floats(0, 1))
def test_the_prompt_weight_falls_with_the_score_of_a_conflict(score: float) -> None:
    def weight(verdict: str, value: float) -> float:
        return prompt_weight(ConflictReport(verdict, value, "Explained."))

    assert weight("agree", score) == weight("unsure", score) == 1
    assert MIN_PROMPT_WEIGHT <= weight("conflict", score) <= weight("conflict", min(1, score + 0.1)) <= 1
    assert weight("conflict", 0) == MIN_PROMPT_WEIGHT
    assert weight("conflict", CONFLICT_THRESHOLD) == 1


def test_the_label_bank_has_the_names_of_vggsound() -> None:
    names = vggsound_names()
    assert len(names) == len(set(names)) == 309
    assert list(names) == sorted(names)
    assert {"dog barking", "playing drum kit", "machine gun shooting", "chopping food"} <= set(names)


@pytest.fixture(scope="module")
def joint_model(tiny_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    """A pack with a joint space that matches no prompt with any video."""
    pack = Path(shutil.copytree(tiny_pack, tmp_path_factory.mktemp("packs") / "judging"))
    torch.manual_seed(5)
    widths = {"width": 16, "picture_widths": (8, 8, 8, 16), "sound_widths": (8, 8, 8, 16), "features": 16}
    space = JointSpace(**widths, known_words=KNOWN, calibration={"text_picture": (12.0, -3.0)})
    save_component(space, pack, "joint")
    document = tomllib.loads((pack / "pack.toml").read_text("utf-8"))
    document["components"]["joint"] = "JointSpace"
    write_description(pack, {key: value for key, value in document.items() if key not in ("format", "files")})
    return ReWaS.from_pretrained(pack, device="cpu")


@pytest.fixture
def rain_model(joint_model: ReWaS, monkeypatch: pytest.MonkeyPatch) -> ReWaS:
    """The same pack with given match scores: the video matches rain only."""
    matcher = joint_model.matcher

    def match(prompt: str, *arguments: object) -> MatchScores:
        probabilities = {"rain falling": 0.98}
        labels = np.array([probabilities.get(label.meaning, 0.02) for label in matcher.labels])
        spans_s = [(Fraction(0), Fraction(1, 2))]
        return MatchScores(
            probabilities.get(prompt, 0.02), labels, spans_s, np.array([probabilities.get(prompt, 0.02)]), labels[None]
        )

    monkeypatch.setattr(matcher, "match", match)
    return joint_model


def test_a_check_reports_verdict_spans_and_progress(joint_model: ReWaS, long_clip: Path) -> None:
    stages: list[str] = []
    clip = VideoClip(long_clip, start=2, duration=Fraction(7, 2))
    report = joint_model.check_conflict(
        clip, " a dog barks ", on_progress=lambda progress: stages.append(progress.stage)
    )
    assert report.verdict in ("agree", "unsure", "conflict")
    assert report.score is not None
    assert 0 <= report.score <= 1
    assert report.encoder == "the joint space of the pack tiny"
    assert list(dict.fromkeys(stages)) == ["decode", "conflict"]
    assert joint_model.check_conflict(clip, "a dog barks") == report
    assert all(0 <= span.start_s < span.end_s <= Fraction(7, 2) for span in report.spans)
    for prompt in ("", " ", "x" * 2001):
        with pytest.raises(SettingsError):
            joint_model.check_conflict(clip, prompt)


def test_spans_end_with_the_clip(joint_model: ReWaS, long_clip: Path) -> None:
    read = joint_model.read_clip(VideoClip(long_clip, duration=Fraction(101, 50)))
    frames = np.zeros((51, 16, 16), np.uint8)
    scores = joint_model.matcher.match("rain", read, frames, lambda done, total: None)
    assert scores.spans_s[-1][1] == Fraction(101, 50)


def generate(model: ReWaS, clip: Path, policy: str, prompt: str = "a dog barking", **more):
    short_clip = VideoClip(clip, duration=Fraction(1, 2))
    return model.generate(
        short_clip,
        prompt=prompt,
        conflict=policy,
        sampling=Sampling(num_inference_steps=1),
        output=Output(sample_rate_hz=16_000),
        **more,
    )


def test_policy_off_embeds_nothing(joint_model: ReWaS, long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_model.matcher, "match", GivenMatcher().match)
    result = generate(joint_model, long_clip, "off")
    assert (result.conflict, result.conflict_policy, result.settings.prompt_weight) == (None, "off", 1.0)
    assert "conflict" not in result.timings_s


def test_policy_warn_reports_but_changes_nothing(rain_model: ReWaS, long_clip: Path) -> None:
    plain, warned = (generate(rain_model, long_clip, policy) for policy in ("off", "warn"))
    assert warned.conflict is not None
    assert warned.conflict.verdict == "conflict"
    assert warned.conflict.suggestions[0].text in ("rain falling", "raining")
    assert warned.settings.prompt_weight == 1
    assert "conflict" in warned.timings_s
    assert np.array_equal(plain.takes[0].stems["primary"].waveform, warned.takes[0].stems["primary"].waveform)


def test_policy_soften_lowers_the_prompt_weight(rain_model: ReWaS, long_clip: Path) -> None:
    plain, softened, right = (
        generate(rain_model, long_clip, *arguments) for arguments in (("off",), ("soften",), ("soften", "rain falling"))
    )
    assert softened.settings.prompt_weight == pytest.approx(prompt_weight(softened.conflict))
    assert MIN_PROMPT_WEIGHT < softened.settings.prompt_weight < 0.6
    assert not np.array_equal(plain.takes[0].stems["primary"].waveform, softened.takes[0].stems["primary"].waveform)
    assert (right.conflict.verdict, right.settings.prompt_weight) == ("agree", 1.0)
    # The frames are decoded once for energy and verdict.
    assert softened.timings_s.keys() >= {"decode", "energy", "conflict", "sample"}


def test_policy_refuse_generates_nothing(rain_model: ReWaS, long_clip: Path) -> None:
    stages: list[str] = []
    with pytest.raises(
        ConflictError, match=r"No sound was generated for the clip long.mkv: the video looks like"
    ) as raised:
        generate(rain_model, long_clip, "refuse", on_progress=lambda progress: stages.append(progress.stage))
    assert raised.value.report.verdict == "conflict"
    assert "Try “" in raised.value.remedy
    assert "sample" not in stages
    assert generate(rain_model, long_clip, "refuse", "rain falling").conflict.verdict == "agree"


def test_an_unknown_policy_is_refused_before_reading(joint_model: ReWaS, model: ReWaS, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'strict'.*off, warn, soften, refuse"):
        generate(joint_model, tmp_path / "gone.mp4", "strict")
    for policy in ("warn", "soften", "refuse"):
        with pytest.raises(PackError, match=f"tiny cannot compare prompts with video, .* policy is {policy}"):
            generate(model, tmp_path / "gone.mp4", policy)


def test_the_check_can_be_cancelled(joint_model: ReWaS, long_clip: Path) -> None:
    cancel = threading.Event()

    def stop(progress) -> None:
        if progress.stage == "conflict":
            cancel.set()

    with pytest.raises(Cancelled):
        generate(joint_model, long_clip, "warn", on_progress=stop, cancel=cancel)
    with pytest.raises(Cancelled):
        joint_model.check_conflict(VideoClip(long_clip), "rain", on_progress=stop, cancel=cancel)


def test_a_lower_prompt_weight_is_closer_to_no_prompt(joint_model: ReWaS) -> None:
    from dataclasses import replace

    plain = joint_model.sampling_settings(Sampling(num_inference_steps=2))
    controls = Controls(energy=np.full(512, -6.0, np.float32))

    def generate_log_mel(prompt: str, weight: float) -> torch.Tensor:
        return joint_model.sound_generator.generate_log_mel(prompt, controls, 3, replace(plain, prompt_weight=weight))

    without_prompt = generate_log_mel("", 1.0)
    distances = [
        float((generate_log_mel("a dog barking", weight) - without_prompt).abs().mean()) for weight in (0.0, 0.5, 1.0)
    ]
    assert distances[0] == pytest.approx(0, abs=1e-4)
    assert 0 < distances[1] < distances[2]


def test_suggested_prompts_match_the_video(rain_model: ReWaS, long_clip: Path) -> None:
    (suggestion,) = rain_model.suggest_prompts(VideoClip(long_clip, duration=1))
    assert suggestion == Suggestion("rain falling", 0.98, "pack")


def test_nothing_is_suggested_for_a_video_that_the_pack_does_not_know(
    joint_model: ReWaS, long_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher = joint_model.matcher
    unlike = np.full(len(matcher.labels), 0.49)
    scores = MatchScores(0.02, unlike, [(Fraction(0), Fraction(1))], np.array([0.02]), unlike[None])
    monkeypatch.setattr(matcher, "match", lambda *arguments: scores)
    assert joint_model.suggest_prompts(VideoClip(long_clip, duration=1)) == ()


def test_a_pack_without_a_joint_space_suggests_nothing(tiny_pack: Path, long_clip: Path) -> None:
    with pytest.raises(PackError, match="cannot suggest prompts"):
        ReWaS.from_pretrained(tiny_pack, device="cpu").suggest_prompts(VideoClip(long_clip, duration=1))


def test_a_suggestion_stops_on_request(joint_model: ReWaS, long_clip: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        joint_model.suggest_prompts(VideoClip(long_clip, duration=1), cancel=cancel)
