"""A library of recordings gets the same table as a model, and says which figures need a model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pack_fixtures import TWO_CLASSES, tiny_model

from rewas_cli.plots.evaluation import draw_evaluation
from rewas_engine import Cancelled, PackError, ReWaS
from rewas_engine.conditioning.controls import Controls, onset_track
from rewas_engine.curves.energy import energy_agreement
from rewas_engine.curves.onsets import detect_onsets, match_onsets
from rewas_engine.evaluation import speed
from rewas_engine.evaluation.bench import Bench, Watch, bench_clips
from rewas_engine.evaluation.figures import Evaluation
from rewas_engine.evaluation.report import markdown
from rewas_engine.evaluation.samplers import compare_samplers
from rewas_engine.evaluation.sampling_choice import try_settings
from rewas_engine.evaluation.sound_sources import LibrarySource, ModelSource, energy_of_onsets, select_source
from rewas_engine.evaluation.sound_store import Request, SoundStore
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.evaluation.suite import SECTION_NAMES, EvaluationPlan, evaluate
from rewas_engine.evaluation.throughput import batch_table
from rewas_engine.packs.description import read_pack
from rewas_engine.recipes.world_library import write_world_library

SECTIONS = tuple(name for name in SECTION_NAMES if name not in ("picture", "joint", "conflict", "real", "realism"))
"""The other sections measure the pack that reads video and prompts for the library, or need real recordings."""
NEED_A_MODEL = {
    *("vocoded_correlation_mean", "vocoded_correlation_worse_tenth", "vocoded_mae_nats"),
    *("vocoded_class", "vocoded_class_worst"),
    *("vocoder_l1", "vocoder_l1_worst", "vocoder_real_class", "griffin_lim_l1"),
    *("real_time_factor_sample", "real_time_factor_vocode"),
}
STRIKES_S = np.array([0.5, 1.25, 2.0, 2.6])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    folder = tmp_path_factory.mktemp("packs") / "world"
    return ReWaS.from_pretrained(write_world_library(folder, classes=TWO_CLASSES, takes=2).path, device="cpu")


@pytest.fixture(scope="module")
def evaluated(library: ReWaS) -> Evaluation:
    with pytest.MonkeyPatch.context() as patched:
        # On a busy machine, threads that wait for each other would take minutes.
        patched.setattr(speed, "THREADS", 1)
        return evaluate(library, EvaluationPlan(SECTIONS, 1, classes=TWO_CLASSES))


def request_for(library: ReWaS, controls: Controls, prompt: str, strength: float = 1.0) -> Request:
    return Request([prompt], [controls], [3], replace(library.sampling_settings(), control_strength=strength))


def test_a_library_is_measured_on_its_sounds(evaluated: Evaluation) -> None:
    figures = evaluated.figures()
    assert figures["energy_correlation_mean"].value > 0.9
    assert figures["energy_mae_nats"].value < 0.4
    assert figures["uncontrolled_correlation"].value < 0.5
    assert figures["class"].value == figures["class_swapped"].value == figures["real_class"].value == 1
    assert figures["onset_f1"].value > 0.6
    assert 0 < figures["vocoder_ripple"].value < 1
    assert figures["take_s"].value > 0
    table = next(section for section in evaluated.sections if section.name == "ablation").details["table"]
    assert table["energy"]["energy_mae_nats"] < table["none"]["energy_mae_nats"]


def test_figures_that_need_a_model_say_so(evaluated: Evaluation, tmp_path: Path) -> None:
    missing = {key: figure.note for key, figure in evaluated.figures().items() if figure.value is None}
    unsteered = {key for key in missing if key.startswith("ablation_energy_and_texture")}
    assert set(missing) == NEED_A_MODEL | unsteered | {"texture_error_nats"}
    assert {missing[key] for key in NEED_A_MODEL} == {
        "not supported: a library has no vocoder",
        "not supported: a library has no model",
    }


@pytest.mark.slow
def test_a_library_and_a_model_have_the_same_figures(evaluated: Evaluation, tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(speed, "THREADS", 1)
        settings = replace(model.sampling_settings(), num_inference_steps=1)
        of_model = evaluate(model, EvaluationPlan(SECTIONS, 1, classes=TWO_CLASSES), settings)
    # A pack with the control "onsets" also has figures of it.
    more = {key for key in evaluated.figures() if key in ("onset_precision", "onset_recall") or key.endswith("_onsets")}
    assert evaluated.figures().keys() - more == of_model.figures().keys()


def test_the_report_of_a_library_has_its_figures_and_plots(evaluated: Evaluation, tmp_path: Path) -> None:
    report = json.loads(json.dumps(evaluated.report(), allow_nan=False))
    setting = report["setting"]
    assert (setting["num_steps"], setting["guidance_scale"], setting["lender"]) == (None, None, "starter")
    plots = draw_evaluation(evaluated, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"energy.png", "energy-examples.png", "classes.png", "onsets.png"} <= names
    assert "vocoder.png" not in names
    page = markdown(evaluated, plots)
    assert "performed from recordings, with video and prompts read by the pack starter" in page
    assert all(figure.label in page for figure in evaluated.figures().values())


def test_a_performance_follows_the_requested_energy_and_seed(library: ReWaS) -> None:
    clip = bench_clips(DEVELOPMENT, ("drum_hit",), 1, library.front_end, Watch())[0]
    source = LibrarySource(library)
    request = request_for(library, Controls(energy=clip.energy), clip.plain)
    made = source.generate(request, lambda: None)
    assert made.shape == (1, clip.sound.size)
    (waveform,) = source.waveforms(made, lambda done, total: None)
    log_mels = source.log_mels(made)
    assert log_mels.shape == (1, *clip.log_mel.shape)
    _, correlation = energy_agreement(clip.energy, log_mels[0].mean(axis=-1))
    assert correlation is not None
    assert correlation > 0.9
    assert np.array_equal(source.generate(request, lambda: None)[0], waveform)
    assert not np.array_equal(source.generate(replace(request, seeds=[4]), lambda: None)[0], waveform)
    # Without control, a constant energy of the same mean is performed.
    even = source.generate(request_for(library, Controls(energy=clip.energy), clip.plain, 0.0), lambda: None)
    assert not np.array_equal(even[0], waveform)


def test_onsets_alone_are_performed_where_they_are(library: ReWaS) -> None:
    track = onset_track(STRIKES_S, np.array([1.0, 0.5, 0.8, 0.6]), 300, 100.0)
    energy = energy_of_onsets(track, library.front_end.config.silence_nats)
    assert energy.shape == (300,)
    assert energy[:50].max() == library.front_end.config.silence_nats
    assert energy[50] == energy.max()
    made = LibrarySource(library).generate(request_for(library, Controls(onsets=track), "drumming"), lambda: None)
    onsets_s, _ = detect_onsets(made[0], 16_000)
    assert len(match_onsets(STRIKES_S, onsets_s)) == STRIKES_S.size


@pytest.mark.parametrize("frame", [None, 0, 1, 150, 297])
@pytest.mark.parametrize("prompt", ["drumming", "rain"])
def test_no_onset_is_silence_and_a_single_one_is_performed(library: ReWaS, prompt: str, frame: int | None) -> None:
    track = np.zeros(300, np.float32)
    if frame is not None:
        track[frame] = 0.7
    made = LibrarySource(library).generate(request_for(library, Controls(onsets=track), prompt), lambda: None)
    assert made.shape == (1, 48_000)
    if frame is None:
        assert not made.any()
    elif prompt == "drumming" and frame < 290:
        assert np.abs(made).max() > 0.01


def test_stored_performances_are_not_made_again(library: ReWaS, tmp_path: Path) -> None:
    clips = bench_clips(DEVELOPMENT, TWO_CLASSES, 1, library.front_end, Watch())

    def bench() -> Bench:
        store = SoundStore(tmp_path, read_pack(library.pack.path), "cpu")
        return Bench(library, None, clips, library.sampling_settings(), Watch(), store)

    first = bench().plain_waveforms
    (file,) = tmp_path.rglob("*.npy")
    np.save(file, np.load(file) * 0.5)
    np.testing.assert_array_equal(np.stack(bench().plain_waveforms), 0.5 * np.stack(first))


def test_a_cancelled_evaluation_of_a_library_stops(library: ReWaS) -> None:
    def check() -> None:
        raise Cancelled

    energy = np.full(512, -5.0, np.float32)
    with pytest.raises(Cancelled):
        LibrarySource(library).generate(request_for(library, Controls(energy=energy), "rain"), check)


def test_each_pack_has_its_own_source(library: ReWaS, tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    assert isinstance(select_source(library), LibrarySource)
    assert isinstance(select_source(model), ModelSource)
    with pytest.raises(PackError, match="is a model and has no recordings"):
        _ = model.library_maker


@pytest.mark.parametrize("measure", [batch_table, compare_samplers, try_settings])
def test_measurements_of_models_refuse_a_library(library: ReWaS, measure: Callable[[ReWaS], object]) -> None:
    with pytest.raises(PackError, match="is a library of recordings and has no model"):
        measure(library)
