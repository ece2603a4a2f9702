"""Takes are stored without loss, and text that is not a take is refused."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_nle.timeline.takes import EnergyCurve, Stem, StemPack, Take, UsedRecording, number_takes

FRACTIONS = st.fractions(min_value=0, max_value=100_000, max_denominator=1001)
TEXTS = st.text(max_size=40)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)
CURVES = st.builds(
    EnergyCurve,
    st.just(Fraction(100)),
    st.lists(st.integers(-11_513, 3_000).map(lambda value: value / 1000), max_size=20).map(tuple),
)
SCORES = st.none() | st.floats(0, 1)
TAKES = st.builds(
    Take,
    id=st.uuids().map(lambda value: value.hex),
    scene_rate=FRACTIONS,
    lead_in_frames=st.integers(-10_000, 10_000),
    frames=st.integers(1, 100_000),
    stems=st.lists(
        st.builds(
            Stem,
            role=NAMES,
            path=NAMES.map(lambda name: Path("/film/rewas-stems") / name),
            sample_rate_hz=st.sampled_from([16000, 48000]),
            channels=st.integers(1, 2),
            samples=st.integers(1, 10**8),
        ),
        max_size=3,
    ).map(tuple),
    number=st.integers(0, 1000),
    name=TEXTS,
    is_favourite=st.booleans(),
    media=TEXTS,
    source_start_s=FRACTIONS,
    source_duration_s=FRACTIONS,
    prompt=TEXTS,
    seed=st.integers(0, 2**63 - 1),
    settings=st.dictionaries(TEXTS, TEXTS | st.integers() | st.booleans(), max_size=4),
    pack=TEXTS,
    pack_version=TEXTS,
    licence=TEXTS,
    score=SCORES,
    text_score=SCORES,
    avh_score=SCORES,
    energy_mae_nats=SCORES,
    energy_correlation=SCORES,
    faults=st.lists(TEXTS, max_size=2).map(tuple),
    notes=st.lists(TEXTS, max_size=2).map(tuple),
    requested_energy=st.none() | CURVES,
    output_energy=st.none() | CURVES,
    job_id=TEXTS,
    recordings=st.lists(
        st.builds(
            UsedRecording, role=NAMES, name=TEXTS, words=TEXTS, licence=TEXTS, credit=TEXTS, content_sha256=TEXTS
        ),
        max_size=3,
    ).map(tuple),
    layer_packs=st.lists(st.builds(StemPack, NAMES, NAMES, TEXTS, TEXTS), max_size=2).map(tuple),
)


@settings(max_examples=40)
@given(TAKES)
def test_a_take_is_stored_without_loss(take: Take) -> None:
    assert Take.from_json(take.to_json()) == take


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"id": "a"}', '{"scene_rate": "1/0"}'])
def test_text_that_is_not_a_take_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"take|Expecting value"):
        Take.from_json(text)


@settings(max_examples=10)
@given(st.lists(TAKES, max_size=3), st.integers(0, 50))
def test_takes_are_numbered_after_those_before(takes: list[Take], last_number: int) -> None:
    numbered = number_takes(takes, last_number)
    assert [take.number for take in numbered] == list(range(last_number + 1, last_number + 1 + len(takes)))
    assert [take.id for take in numbered] == [take.id for take in takes]


def test_the_label_is_the_name_or_the_number() -> None:
    take = Take(id="a", scene_rate=Fraction(24), lead_in_frames=0, frames=1, stems=(), number=3)
    assert take.label == "Take 3"
    assert Take.from_json(take.to_json().replace('"name":""', '"name":"Closer"')).label == "Closer"
