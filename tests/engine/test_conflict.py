"""Verdicts on words and picture: what they rest on, where they disagree, better words, and what is done about it."""

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
    """A picture in moments of a second. rival: of the whole. elsewhere: of each moment."""
    moments = [
        EvidenceSpan(Fraction(n), Fraction(n + 1), value, "rain falling", elsewhere) for n, value in enumerate(parts)
    ]
    rivals = (Suggestion("rain falling", rival, "pack"), Suggestion("hail", rival / 2, "vggsound"))
    return Evidence(probability, moments, rivals, familiarity)


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
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
def test_verdicts_follow_from_the_evidence(found: Evidence, verdict: str, said: str) -> None:
    report = conflict_report("a bell", found, "a sharp eye")
    assert (report.verdict, report.score, report.encoder) == (verdict, found.probability, "a sharp eye")
    assert said in report.explanation
    assert report.explanation.endswith(".")


@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(0, 1), st.floats(-1, 1))
def test_a_conflict_is_never_claimed_lightly(
    probability: float, parts: list[float], rival: float, familiarity: float
) -> None:
    found = evidence(probability, parts, rival=rival, elsewhere=rival, familiarity=familiarity)
    report = conflict_report("a bell", found)
    assert report.score == pytest.approx(probability, abs=1e-4)
    if report.verdict == "conflict":
        assert probability < CONFLICT_THRESHOLD < AGREE_THRESHOLD <= rival
        assert max(parts) < AGREE_THRESHOLD
        assert familiarity >= FAMILIARITY_THRESHOLD
    for better in report.suggestions:
        assert report.verdict != "agree"
        assert better.score > probability
    for earlier, later in pairwise(report.spans):
        assert earlier.end_s < later.start_s


def test_moments_that_disagree_are_joined() -> None:
    parts = [(0.9, "rain", 0.1), (0.1, "rain", 0.9), (0.3, "wind", 0.8), (0.2, "rain", 0.9), (0.1, "rain", 0.3)]
    moments = [EvidenceSpan(Fraction(n, 2), Fraction(n + 1, 2), *part) for n, part in enumerate(parts)]
    (found,) = mismatched_spans(moments)
    assert (found.start_s, found.end_s, found.looks_like) == (Fraction(1, 2), 2, "rain")
    assert found.score == pytest.approx(0.2)
    assert mismatched_spans(moments[:1]) == ()


class GivenMatcher:
    """Knows three labels of two meanings."""

    name = "given"
    labels = (Label("rain", "pack", "rain"), Label("raining", "vggsound", "rain"), Label("bell", "pack", "bell"))

    def familiarity(self, prompt: str) -> tuple[str, float]:
        return ("bell", 1.0) if prompt == "chimes" else ("rain", 0.2)

    def load_frames(self, *asked: object) -> np.ndarray:
        raise AssertionError("nothing is read here")

    def match(self, *asked: object) -> MatchScores:
        raise AssertionError("nothing is looked at here")


def test_rivals_stand_once_for_each_meaning_and_never_for_the_prompts_own() -> None:
    spans_s = [(Fraction(0), Fraction(2)), (Fraction(1), Fraction(3))]
    labels = np.array([[0.2, 0.9, 0.99], [0.4, 0.1, 0.99]])
    seen = MatchScores(0.3, np.array([0.5, 0.6, 0.99]), spans_s, np.array([0.0, 1.0]), labels)
    found = gather_evidence(GivenMatcher(), "chimes", seen)
    assert found.rivals == (Suggestion("raining", 0.6, "vggsound"),)
    assert [(moment.start_s, moment.end_s) for moment in found.spans] == [(0, 1), (1, 2), (2, 3)]
    assert [moment.probability for moment in found.spans] == [0, 0.5, 1]
    assert [moment.rival_probability for moment in found.spans] == [0.9, 0.5, 0.1]
    # What is not known may mean anything: no label is left out for it.
    assert [rival.text for rival in gather_evidence(GivenMatcher(), "tuba", seen).rivals] == ["bell", "raining"]


@given(st.floats(0, 1))
def test_a_prompt_weighs_less_the_surer_the_contradiction(score: float) -> None:
    def weight(verdict: str, value: float) -> float:
        return prompt_weight(ConflictReport(verdict, value, "Told."))

    assert weight("agree", score) == weight("unsure", score) == 1
    assert MIN_PROMPT_WEIGHT <= weight("conflict", score) <= weight("conflict", min(1, score + 0.1)) <= 1
    assert weight("conflict", 0) == MIN_PROMPT_WEIGHT
    assert weight("conflict", CONFLICT_THRESHOLD) == 1


def test_the_bank_holds_the_names_of_vggsound() -> None:
    names = vggsound_names()
    assert len(names) == len(set(names)) == 309
    assert list(names) == sorted(names)
    assert {"dog barking", "playing drum kit", "machine gun shooting", "chopping food"} <= set(names)


@pytest.fixture(scope="module")
def judging(tiny_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    """A pack with a joint space that takes no picture for any words: it may always be said to contradict."""
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
def contradicting(judging: ReWaS, monkeypatch: pytest.MonkeyPatch) -> ReWaS:
    """The same, where the pictures go with rain alone: what the space sees is set, all else is real."""
    matcher = judging.matcher

    def seen(prompt: str, *asked: object) -> MatchScores:
        of = {"rain falling": 0.98}
        labels = np.array([of.get(label.meaning, 0.02) for label in matcher.labels])
        spans_s = [(Fraction(0), Fraction(1, 2))]
        return MatchScores(of.get(prompt, 0.02), labels, spans_s, np.array([of.get(prompt, 0.02)]), labels[None])

    monkeypatch.setattr(matcher, "match", seen)
    return judging


def test_a_check_reads_looks_and_tells(judging: ReWaS, long_clip: Path) -> None:
    stages: list[str] = []
    clip = VideoClip(long_clip, start=2, duration=Fraction(7, 2))
    report = judging.check_conflict(clip, " a dog barks ", on_progress=lambda told: stages.append(told.stage))
    assert report.verdict in ("agree", "unsure", "conflict")
    assert report.score is not None
    assert 0 <= report.score <= 1
    assert report.encoder == "the joint space of the pack tiny"
    assert list(dict.fromkeys(stages)) == ["decode", "conflict"]
    assert judging.check_conflict(clip, "a dog barks") == report
    assert all(0 <= moment.start_s < moment.end_s <= Fraction(7, 2) for moment in report.spans)
    for prompt in ("", " ", "x" * 2001):
        with pytest.raises(SettingsError):
            judging.check_conflict(clip, prompt)


def test_stretches_end_with_the_clip(judging: ReWaS, long_clip: Path) -> None:
    read = judging.read_clip(VideoClip(long_clip, duration=Fraction(101, 50)))
    frames = np.zeros((51, 16, 16), np.uint8)
    seen = judging.matcher.match("rain", read, frames, lambda done, total: None)
    assert seen.spans_s[-1][1] == Fraction(101, 50)


def make(model: ReWaS, clip: Path, policy: str, prompt: str = "a dog barking", **more):
    asked = VideoClip(clip, duration=Fraction(1, 2))
    return model.generate(
        asked,
        prompt=prompt,
        conflict=policy,
        sampling=Sampling(num_inference_steps=1),
        output=Output(sample_rate_hz=16_000),
        **more,
    )


def test_off_looks_at_nothing(judging: ReWaS, long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging.matcher, "match", GivenMatcher().match)
    made = make(judging, long_clip, "off")
    assert (made.conflict, made.conflict_policy, made.settings.prompt_weight) == (None, "off", 1.0)
    assert "conflict" not in made.timings_s


def test_warn_tells_and_changes_nothing(contradicting: ReWaS, long_clip: Path) -> None:
    plain, warned = (make(contradicting, long_clip, policy) for policy in ("off", "warn"))
    assert warned.conflict is not None
    assert warned.conflict.verdict == "conflict"
    assert warned.conflict.suggestions[0].text in ("rain falling", "raining")
    assert warned.settings.prompt_weight == 1
    assert "conflict" in warned.timings_s
    assert np.array_equal(plain.takes[0].stems["primary"].waveform, warned.takes[0].stems["primary"].waveform)


def test_soften_lets_a_contradicted_prompt_weigh_less(contradicting: ReWaS, long_clip: Path) -> None:
    plain, softened, right = (
        make(contradicting, long_clip, *asked) for asked in (("off",), ("soften",), ("soften", "rain falling"))
    )
    assert softened.settings.prompt_weight == pytest.approx(prompt_weight(softened.conflict))
    assert MIN_PROMPT_WEIGHT < softened.settings.prompt_weight < 0.6
    assert not np.array_equal(plain.takes[0].stems["primary"].waveform, softened.takes[0].stems["primary"].waveform)
    assert (right.conflict.verdict, right.settings.prompt_weight) == ("agree", 1.0)
    # A picture is read once for energy and verdict.
    assert softened.timings_s.keys() >= {"decode", "energy", "conflict", "sample"}


def test_refuse_makes_nothing(contradicting: ReWaS, long_clip: Path) -> None:
    stages: list[str] = []
    with pytest.raises(
        ConflictError, match=r"No sound was generated for the clip long.mkv: the video looks like"
    ) as told:
        make(contradicting, long_clip, "refuse", on_progress=lambda at: stages.append(at.stage))
    assert told.value.report.verdict == "conflict"
    assert "Try “" in told.value.remedy
    assert "sample" not in stages
    assert make(contradicting, long_clip, "refuse", "rain falling").conflict.verdict == "agree"


def test_a_policy_is_checked_before_anything_is_read(judging: ReWaS, model: ReWaS, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'strict'.*off, warn, soften, refuse"):
        make(judging, tmp_path / "gone.mp4", "strict")
    for policy in ("warn", "soften", "refuse"):
        with pytest.raises(PackError, match=f"tiny cannot compare prompts with video, .* policy is {policy}"):
            make(model, tmp_path / "gone.mp4", policy)


def test_a_cancel_within_the_check_ends_it(judging: ReWaS, long_clip: Path) -> None:
    cancel = threading.Event()

    def stop(told) -> None:
        if told.stage == "conflict":
            cancel.set()

    with pytest.raises(Cancelled):
        make(judging, long_clip, "warn", on_progress=stop, cancel=cancel)
    with pytest.raises(Cancelled):
        judging.check_conflict(VideoClip(long_clip), "rain", on_progress=stop, cancel=cancel)


def test_less_weight_is_nearer_to_no_words(judging: ReWaS) -> None:
    from dataclasses import replace

    plain = judging.sampling_settings(Sampling(num_inference_steps=2))
    controls = Controls(energy=np.full(512, -6.0, np.float32))

    def sounded(prompt: str, weight: float) -> torch.Tensor:
        return judging.sound_generator.generate_log_mel(prompt, controls, 3, replace(plain, prompt_weight=weight))

    silent_words = sounded("", 1.0)
    apart = [float((sounded("a dog barking", weight) - silent_words).abs().mean()) for weight in (0.0, 0.5, 1.0)]
    assert apart[0] == pytest.approx(0, abs=1e-4)
    assert 0 < apart[1] < apart[2]
