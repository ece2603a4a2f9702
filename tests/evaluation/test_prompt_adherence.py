"""The judge's classes are counted in the right condition, for the right class and in the right direction."""

import numpy as np
import pytest
from bench_fixtures import ScriptedJudge, figures_of, make_bench, make_clip, values_of
from pack_fixtures import tiny_model

from rewas_engine import ReWaS
from rewas_engine.evaluation.figures import Section
from rewas_engine.evaluation.prompt_adherence import prompt_section
from rewas_engine.world import CLASS_NAMES

REQUESTED = ["drum_hit"] * 4 + ["rain"] * 4 + ["bell"] * 4
JUDGED = {
    "real": REQUESTED,
    "plain": ["drum_hit"] * 4 + ["rain"] * 3 + ["bell"] + ["bell"] * 2 + ["rain", "drum_hit"],
    "plain_vocoded": ["drum_hit"] * 4 + ["drum_hit"] * 3 + ["rain"] + ["bell"] * 3 + ["fire"],
    "swapped": ["drum_hit"] + ["rain"] * 3 + ["rain"] * 2 + ["drum_hit"] * 2 + ["bell"] * 2 + ["rain"] * 2,
    "paraphrased": ["bell"] * 4 + ["rain"] * 4 + ["bell"] * 2 + ["rain"] * 2,
}
"""Correct of 12: all, 9, 8, 5 and 6."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    return tiny_model(tmp_path_factory.mktemp("pack"))


def build_section(model: ReWaS, judged: dict[str, list[str]]) -> Section:
    """The prompt section on a bench in which the judge returns these classes, by condition."""
    judge, dice = ScriptedJudge(), np.random.default_rng(0)
    mels = {name: dice.normal(-5, 1, (len(REQUESTED), 4, 64)).astype(np.float32) for name in judged}
    for name, names in judged.items():
        judge.set_classes(mels[name], names)
    clips = [make_clip(name, log_mel) for name, log_mel in zip(REQUESTED, mels.pop("real"), strict=True)]
    return prompt_section(make_bench(model, clips, judge, **mels))


@pytest.fixture(scope="module")
def section(model: ReWaS) -> Section:
    return build_section(model, JUDGED)


def test_each_condition_has_its_own_share(section: Section) -> None:
    shares = {key: value for key, value in values_of(section).items() if not key.endswith(("worst", "points"))}
    assert shares == pytest.approx(
        {
            "real_class": 1,
            "class": 9 / 12,
            "vocoded_class": 8 / 12,
            "class_swapped": 5 / 12,
            "class_paraphrased": 6 / 12,
        }
    )


def test_the_worst_class_is_the_one_recognised_least(section: Section) -> None:
    worst = {key: (figure.value, figure.note) for key, figure in figures_of(section).items() if key.endswith("worst")}
    # Two of four bells are correct; after the vocoder three, but only one of the rains.
    assert worst == {"class_worst": (2 / 4, "bell"), "vocoded_class_worst": (1 / 4, "rain")}
    assert section.details["by_class"]["plain"] == {"drum_hit": 1.0, "rain": 0.75, "bell": 0.5}
    assert section.details["by_class"]["swapped"] == {"drum_hit": 0.25, "rain": 0.5, "bell": 0.5}


def test_worse_results_on_paraphrases_are_a_positive_drop(model: ReWaS, section: Section) -> None:
    assert values_of(section)["paraphrase_drop_points"] == pytest.approx(25)
    # Of 12 clips 4 are lost, 1 is gained and 7 stay the same.
    expected = 100 * np.std([1] * 4 + [-1] + [0] * 7) / 12**0.5
    assert figures_of(section)["paraphrase_drop_points"].note == f"12 clips, standard error {expected:.3f}"
    exchanged = JUDGED | {"plain": JUDGED["paraphrased"], "paraphrased": JUDGED["plain"]}
    assert values_of(build_section(model, exchanged))["paraphrase_drop_points"] == pytest.approx(-25)


def test_rows_of_the_confusion_table_are_the_requested_classes(section: Section) -> None:
    def times(condition: str, requested: str, judged: str) -> int:
        return section.details["confusion"][condition][CLASS_NAMES.index(requested)][CLASS_NAMES.index(judged)]

    assert section.details["classes"] == list(CLASS_NAMES)
    assert times("vocoded", "rain", "drum_hit") == 3
    assert times("vocoded", "drum_hit", "rain") == 0
    assert times("vocoded", "bell", "fire") == 1
    assert times("paraphrased", "drum_hit", "bell") == 4
    assert times("swapped", "bell", "rain") == 2
    assert section.details["confused_most"]["swapped"][0] == {"asked": "drum_hit", "heard": "rain", "clips": 3}
    assert section.details["confused_most"]["paraphrased"] == [
        {"asked": "drum_hit", "heard": "bell", "clips": 4},
        {"asked": "bell", "heard": "rain", "clips": 2},
    ]


def test_a_class_name_is_written_with_spaces(model: ReWaS) -> None:
    deaf_to_drums = JUDGED | {"plain": ["rain"] * 4 + JUDGED["plain"][4:]}
    figure = figures_of(build_section(model, deaf_to_drums))["class_worst"]
    assert (figure.value, figure.note) == (0.0, "drum hit")
