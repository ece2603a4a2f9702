"""The ablation on sounds with known strikes and classes in each condition."""

import numpy as np
import pytest
import torch
from bench_fixtures import SILENT, STRIKES_S, ScriptedJudge, ScriptedSource, clicks, make_bench, strike_clip, values_of
from pack_fixtures import full_model

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.ablation import CONDITIONS, ablation_section
from rewas_engine.evaluation.figures import Section
from rewas_engine.evaluation.sound_store import Request
from rewas_engine.training.corpus import world_front_end

ALL, HALF, LATE = clicks(STRIKES_S), clicks(STRIKES_S[:2]), clicks(STRIKES_S + 0.2)
MORE = clicks(np.append(STRIKES_S, [0.75, 1.25]), [1.0] * 4 + [0.5] * 2)
"""All strikes and two softer ones between them: the least confident are wrong, which costs no precision."""
JUDGED = ((ALL, "drum_hit"), (HALF, "bell"), (LATE, "fire"), (MORE, "rain"), (SILENT, "wind"))
REQUESTED = ("drum_hit", "bell", "drum_hit", "drum_hit")
SOUNDS = {
    "none": [SILENT] * 4,
    "energy": [ALL, HALF, MORE, LATE],
    "onsets": [ALL, ALL, ALL, HALF],
    "energy_and_texture": [ALL, ALL, SILENT, SILENT],
}
MARKS = {"none": 0, "onsets": 1, "energy_and_texture": 2}


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Section:
    """The section of sixteen clips, every fourth of which counts."""

    def generate(request: Request) -> FloatArray:
        name = "none" if request.settings.control_strength == 0 else "_and_".join(request.controls[0].names)
        repeats = 4 if name == "none" else 1
        assert tuple(request.prompts) == tuple(prompt for prompt in REQUESTED for _ in range(repeats))
        return np.full((len(request.prompts), 1, 1), MARKS[name], np.float32)

    def vocode(log_mels: FloatArray) -> list[FloatArray]:
        assert len(log_mels) == len(REQUESTED)
        return SOUNDS[list(MARKS)[int(log_mels[0, 0, 0])]]

    judge = ScriptedJudge()
    for sound, name in JUDGED:
        judge.set_classes(world_front_end().log_mel(torch.from_numpy(sound)[None]).numpy(), [name])
    bench = make_bench(
        full_model(tmp_path_factory.mktemp("pack")),
        [strike_clip(name) for name in REQUESTED for _ in range(4)],
        judge,
        plain_waveforms=[sound for counted in SOUNDS["energy"] for sound in (counted, SILENT, SILENT, SILENT)],
        source=ScriptedSource(generate, vocode),
    )
    return ablation_section(bench)


@pytest.mark.parametrize(
    ("condition", "number", "precision", "right"),
    [
        ("real", 1, 1, 3 / 4),  # the judge assigns all strikes to the drum, including the bell's
        ("none", 0, 0, 0),
        ("energy", 2 / 4, (1 + 1 / 2 + 1 + 0) / 4, 2 / 4),
        ("onsets", 3 / 4, (3 + 1 / 2) / 4, 2 / 4),
        ("energy_and_texture", 2 / 4, 2 / 4, 1 / 4),
    ],
)
def test_each_condition_has_its_own_row(
    section: Section, condition: str, number: float, precision: float, right: float
) -> None:
    row = section.details["table"][condition]
    found = (row["number_accuracy"], row["average_precision"], row["right_class"])
    assert found == (number, precision, right)


def test_figures_are_those_of_the_table(section: Section) -> None:
    assert (section.details["clips"], section.details["counted"]) == (4, 4)
    figures = values_of(section)
    table = section.details["table"]
    from_table = {f"ablation_{name}_{key}": value for name in CONDITIONS for key, value in table[name].items()}
    assert figures == pytest.approx(from_table, abs=1e-4)
