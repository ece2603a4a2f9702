"""Sections on a bench with known results: everything as requested, or nothing."""

from pathlib import Path

import numpy as np
import pytest
from pack_fixtures import TWO_CLASSES, full_model, perfect_bench, tiny_model

from rewas_engine import ReWaS
from rewas_engine.evaluation.ablation import CONDITIONS, ablation_row, ablation_section
from rewas_engine.evaluation.bench import Bench, Watch, bench_clips, swap_partners
from rewas_engine.evaluation.control_following import energy_agreements, energy_section, texture_section
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.onset_control import has_counted_strikes, onset_section, strikes
from rewas_engine.evaluation.prompt_adherence import prompt_section, top_confusions
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.world import CLASS_NAMES, captions, held_out_captions


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    return tiny_model(tmp_path_factory.mktemp("pack"))


@pytest.fixture
def bench(model: ReWaS) -> Bench:
    return perfect_bench(model)


def figures_of(section: Section) -> dict[str, Figure]:
    return {figure.key: figure for figure in section.figures}


def test_a_perfect_pack_meets_every_energy_target(bench: Bench) -> None:
    section = energy_section(bench)
    figures = figures_of(section)
    assert figures["energy_correlation_mean"].value == pytest.approx(1.0)
    assert figures["energy_mae_nats"].value == pytest.approx(0.0, abs=1e-6)
    assert figures["uncontrolled_correlation"].value < 0.2
    judged = [figure for key, figure in figures.items() if figure.target and key != "uncontrolled_correlation"]
    assert all(figure.passed("gpu") for figure in judged)
    assert section.details["correlation_by_class"] == dict.fromkeys(TWO_CLASSES, 1.0)


def test_a_pack_that_ignores_the_energy_misses_it(bench: Bench) -> None:
    bench.plain = np.full_like(bench.plain, -5.0)
    figures = figures_of(energy_section(bench))
    assert figures["energy_correlation_mean"].value == 0.0
    assert figures["energy_correlation_mean"].passed("cpu") is False
    assert figures["energy_mae_nats"].value > 0.2


def test_an_inverted_control_has_a_negative_correlation(bench: Bench) -> None:
    requested = [clip.energy for clip in bench.clips]
    correlations, maes_nats = energy_agreements(requested, -bench.plain)
    np.testing.assert_allclose(correlations, -1.0, atol=1e-5)
    assert min(maes_nats) > 1


def test_without_control_either_direction_counts_as_failure(bench: Bench) -> None:
    bench.uncontrolled = -bench.plain
    figure = figures_of(energy_section(bench))["uncontrolled_correlation"]
    assert figure.value == pytest.approx(1.0)
    assert figure.passed("cpu") is False
    assert "mean -1.000" in figure.note


def test_missing_controls_are_reported(bench: Bench) -> None:
    assert bench.model.pack.controls == ("energy",)
    (texture,) = texture_section(bench).figures
    onsets = figures_of(onset_section(bench))
    for figure in (texture, onsets["onset_f1"]):
        assert figure.value is None
        assert figure.note.startswith("not supported")


def test_a_pack_with_all_controls_gets_onsets_and_texture(tmp_path: Path) -> None:
    bench = perfect_bench(full_model(tmp_path))
    assert bench.model.pack.controls == ("energy", "onsets", "texture")
    texture, onsets = figures_of(texture_section(bench)), figures_of(onset_section(bench))
    assert texture["texture_error_without_nats"].value == pytest.approx(0, abs=1e-6)
    assert texture["texture_error_nats"].value > 0.1  # the result of an untrained pack
    assert 0 <= onsets["onset_f1"].value < onsets["onset_f1_real"].value
    assert onsets["onset_f1"].passed("cpu") is False
    assert "greatest_hits_average_precision_onsets" in onsets


def test_real_sounds_match_the_real_onsets(bench: Bench) -> None:
    section = onset_section(bench)
    figures = figures_of(section)
    assert figures["onset_f1_energy"].value == figures["onset_f1_real"].value
    for key in ("number_accuracy", "matched_share", "average_precision"):
        assert figures[f"greatest_hits_{key}_energy"].value == 1.0


def test_silence_matches_no_onset(bench: Bench) -> None:
    bench.plain_waveforms = [np.zeros_like(sound) for sound in bench.plain_waveforms]
    figures = figures_of(onset_section(bench))
    assert figures["onset_f1_energy"].value == 0.0
    assert figures["greatest_hits_average_precision_energy"].value == 0.0
    assert figures["onset_f1_real"].value > 0.5


def test_only_separate_strikes_are_counted(model: ReWaS) -> None:
    clips = bench_clips(DEVELOPMENT, ("drum_hit", "rain"), 12, model.front_end, Watch())
    counted = [clip for clip in clips if has_counted_strikes(clip)]
    assert counted
    for clip in counted:
        assert clip.class_name == "drum_hit"
        assert clip.scene.pattern != "roll"
        track = strikes(clip, 100.0)
        assert track.shape == clip.energy.shape
        assert 0 < np.count_nonzero(track) <= clip.scene.event_times_s.size
        assert track[int(clip.scene.event_times_s[0] * 100 + 1e-9)] > 0


@pytest.mark.parametrize(("classes", "per_class"), [(2, 1), (2, 3), (3, 2), (5, 4)])
def test_every_energy_is_swapped_to_a_clip_of_another_class(model: ReWaS, classes: int, per_class: int) -> None:
    clips = bench_clips(DEVELOPMENT, CLASS_NAMES[:classes], per_class, model.front_end, Watch())
    places = swap_partners(clips)
    assert sorted(places) == list(range(len(clips)))
    assert all(clips[place].class_name != clip.class_name for clip, place in zip(clips, places, strict=True))


def test_clips_have_training_and_held_out_phrasings(model: ReWaS) -> None:
    for clip in bench_clips(DEVELOPMENT, ("bell", "fire"), 3, model.front_end, Watch()):
        assert clip.plain in captions(clip.class_name)
        assert clip.paraphrase in held_out_captions(clip.class_name)
        assert clip.paraphrase not in captions(clip.class_name)
        np.testing.assert_allclose(clip.energy, clip.log_mel.mean(axis=1))


def test_classes_are_counted_in_every_condition(bench: Bench) -> None:
    section = prompt_section(bench)
    figures = figures_of(section)
    # The same mels are judged the same, in whatever condition and however weak the judge is.
    assert len({figures[key].value for key in ("real_class", "class", "class_swapped", "vocoded_class")}) == 1
    assert figures["paraphrase_drop_points"].value == 0.0
    for table in section.details["confusion"].values():
        assert np.sum(table) == len(bench.clips)
        assert np.shape(table) == (len(CLASS_NAMES), len(CLASS_NAMES))


def test_the_most_frequent_mistakes_come_first_and_right_ones_are_none() -> None:
    table = np.array([[9, 1, 0], [3, 0, 0], [0, 0, 2]])
    assert top_confusions(table, ("a", "b", "c")) == [
        {"asked": "b", "heard": "a", "clips": 3},
        {"asked": "a", "heard": "b", "clips": 1},
    ]


def test_a_perfect_pack_has_a_perfect_ablation(model: ReWaS) -> None:
    section = ablation_section(perfect_bench(model, clips_per_class=8))
    assert section.details["clips"] == 4
    table, figures = section.details["table"], figures_of(section)
    assert set(table) == {"real", "none", "energy"}
    assert table["energy"] == table["real"]
    assert table["real"]["energy_mae_nats"] == pytest.approx(0, abs=1e-5)
    assert table["real"]["texture_error_nats"] == pytest.approx(0, abs=1e-5)
    assert table["real"]["number_accuracy"] == table["real"]["average_precision"] == 1.0
    assert table["none"]["energy_mae_nats"] > 1
    assert figures["ablation_energy_right_class"].value == pytest.approx(table["energy"]["right_class"], abs=1e-3)
    for key in ("ablation_onsets_energy_mae_nats", "ablation_energy_and_texture_texture_error_nats"):
        assert figures[key].value is None
        assert figures[key].note.startswith("not supported")


def test_an_ablation_measures_known_errors(bench: Bench) -> None:
    sounds = [clip.sound for clip in bench.clips]
    averaged = [np.convolve(sound, np.full(8, 1 / 8), "same").astype(np.float32) for sound in sounds]
    softer = ablation_row(bench, bench.clips, [0.5 * sound for sound in sounds])
    dull = ablation_row(bench, bench.clips, averaged)
    silent = ablation_row(bench, bench.clips, [np.zeros_like(sound) for sound in sounds])
    # Half the amplitude is ln 2 nats less, where that is above the floor; onsets and texture do not change.
    assert 0.3 < softer.energy_mae_nats <= np.log(2) + 0.01
    assert softer.number_accuracy == softer.average_precision == 1.0
    assert softer.texture_error_nats < 0.1 < dull.texture_error_nats
    assert silent.average_precision == 0.0


@pytest.mark.slow
def test_a_pack_with_all_controls_has_every_row(tmp_path: Path) -> None:
    section = ablation_section(perfect_bench(full_model(tmp_path), clips_per_class=4))
    assert set(section.details["table"]) == {"real", *CONDITIONS}
    assert all(figure.value is not None or "no strikes" in figure.note for figure in section.figures)


def test_without_strikes_there_are_no_onsets_to_count(model: ReWaS) -> None:
    section = ablation_section(perfect_bench(model, ("rain", "wind"), 1))
    figure = figures_of(section)["ablation_energy_number_accuracy"]
    assert (figure.value, figure.note) == (None, "not measured: no strikes")
