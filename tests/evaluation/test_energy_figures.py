"""The energy figures on curves whose correlations and errors are known."""

import numpy as np
import pytest
from bench_fixtures import figures_of, make_bench, make_clip, mels_of
from curve_fixtures import STEPS, following
from pack_fixtures import tiny_model

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.control_following import energy_section
from rewas_engine.evaluation.figures import Section

ASKED = -5 + STEPS
FLAT = np.full_like(STEPS, -5)
"""A constant, 1 nat away from STEPS throughout."""


def produced(*correlations: float | None) -> list[FloatArray]:
    """Energies with given correlations to the requested one; None for a constant one."""
    return [FLAT if correlation is None else -5 + following(correlation) for correlation in correlations]


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Section:
    """The section of six clips of rain and five of a bell."""
    bench = make_bench(
        tiny_model(tmp_path_factory.mktemp("pack")),
        [make_clip(name, mels_of([ASKED])[0]) for name in ["rain"] * 6 + ["bell"] * 5],
        plain=mels_of(produced(*[0.8] * 6, *[0.8] * 3, 0.6, None)),
        plain_vocoded=mels_of(produced(0.28, *[0.96] * 5, None, *[0.96] * 4)),
        uncontrolled=mels_of(produced(*[0.6] * 6, *[-0.8] * 5)),
    )
    return energy_section(bench)


def test_the_mel_is_compared_with_the_requested_energy(section: Section) -> None:
    figures = figures_of(section)
    # Nine of 0.8, one of 0.6 and one of 0: the second worst of eleven is the 10th percentile.
    assert figures["energy_correlation_mean"].value == pytest.approx((9 * 0.8 + 0.6) / 11, abs=1e-5)
    assert figures["energy_correlation_worse_tenth"].value == pytest.approx(0.6, abs=1e-5)
    # A correlation of 0.8 has an error of 0.6 nats, one of 0.6 an error of 0.8, the constant one 1.
    assert figures["energy_mae_nats"].value == pytest.approx((9 * 0.6 + 0.8 + 1) / 11, abs=1e-5)


def test_the_vocoded_sound_has_its_own_figures(section: Section) -> None:
    figures = figures_of(section)
    assert figures["vocoded_correlation_mean"].value == pytest.approx((9 * 0.96 + 0.28) / 11, abs=1e-5)
    assert figures["vocoded_correlation_worse_tenth"].value == pytest.approx(0.28, abs=1e-5)
    assert figures["vocoded_mae_nats"].value == pytest.approx((9 * 0.28 + 0.96 + 1) / 11, abs=1e-5)


def test_without_control_the_magnitude_of_the_mean_counts(section: Section) -> None:
    figure = figures_of(section)["uncontrolled_correlation"]
    assert figure.value == pytest.approx(0.4 / 11, abs=1e-5)
    assert figure.note == f"mean {-0.4 / 11:+.3f}, mean magnitude {7.6 / 11:.3f}"


def test_classes_have_their_own_means(section: Section) -> None:
    assert section.details == {
        "correlation_by_class": {"rain": 0.8, "bell": 0.6},
        "mae_nats_by_class": {"rain": 0.6, "bell": 0.72},
        "vocoded_correlation_by_class": {"rain": round((0.28 + 5 * 0.96) / 6, 4), "bell": 0.768},
    }


def test_the_plots_show_requested_and_produced_energy(section: Section) -> None:
    for key, first, last in (("correlations", 0.8, 0), ("vocoded_correlations", 0.28, 0.96)):
        assert section.plot_data[key][[0, -1]] == pytest.approx([first, last], abs=1e-5)
    np.testing.assert_allclose(section.plot_data["requested"][-1], ASKED, atol=1e-5)
    np.testing.assert_allclose(section.plot_data["produced"][-1], FLAT, atol=1e-5)
    np.testing.assert_allclose(section.plot_data["examples"][0]["vocoded"], produced(0.28)[0], atol=1e-5)
