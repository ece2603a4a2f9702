"""`rewas energy --prompt`: the energy of a clip for a prompt, with packs that read words and packs that do not."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from rewas_command import Rewas

from rewas_engine import EnergyCurve
from rewas_engine.recipes.untrained_starter import write_untrained_pack


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained_pack(tmp_path_factory.mktemp("packs") / "worded", reads_words=True)


def test_the_energy_is_estimated_for_the_prompt(bare_rewas: Rewas, media: Path, worded: Path, tmp_path: Path) -> None:
    def estimate(*options: object) -> dict:
        result = bare_rewas("energy", media / "ball.mp4", "--pack", worded, *options, "--json")
        assert result.code == 0, result.errors
        return result.json()

    raw = {words: estimate("--prompt", words, "--level", "raw") for words in ("wind", "a hammer")}
    values = [np.asarray(report["values"]) for report in raw.values()]
    assert np.abs(values[0] - values[1]).max() > 0.1
    assert [report["prompt"] for report in raw.values()] == list(raw)
    standard = estimate("--prompt", "wind", "--plot", tmp_path / "rain.png")
    assert (standard["prompt"], standard["level"], standard["notes"]) == ("wind", "standard", [])
    assert np.percentile(standard["values"], 95) == pytest.approx(-3, abs=0.1)
    assert (tmp_path / "rain.png").read_bytes().startswith(b"\x89PNG")
    without = estimate()
    assert (without["prompt"], without["level"]) == (None, None)
    edited = estimate("--prompt", "wind", "--level", "raw", "--edit", "offset -1")
    np.testing.assert_allclose(edited["values"], np.maximum(values[0] - 1, np.log(1e-5)), atol=1e-5)
    assert edited["unedited"] == raw["wind"]["values"]


def test_a_prompt_that_the_pack_does_not_read_is_noted(rewas: Rewas, media: Path) -> None:
    shown = rewas("energy", media / "ball.mp4", "--prompt", "wind")
    assert (shown.code, shown.errors) == (0, "")
    assert "from the picture for “wind”" in shown.output
    assert "note: The pack starter estimates energy from the video alone. Only the level depends on the" in shown.output
    (note,) = rewas("energy", media / "ball.mp4", "--prompt", "rain", "--level", "raw", "--json").json()["notes"]
    assert note["kind"] == "unused-setting"
    assert note["text"].endswith("The prompt has no effect.")
    assert rewas("energy", media / "ball.mp4", "--json").json()["notes"] == []


def test_a_generated_layer_follows_the_video_for_its_own_prompt(
    bare_rewas: Rewas, media: Path, worded: Path, tmp_path: Path
) -> None:
    result = bare_rewas(
        "generate", media / "ball.mp4", "--pack", worded, "--prompt", "wind", "--ambience", "a hammer",
        "--layer-energy", "ambience=video", "--level", "raw", "--steps", 1, "--seed", 7, "-o", tmp_path, "--json",
    )  # fmt: skip
    assert result.code == 0, result.errors
    report = result.json()
    followed = np.asarray(report["takes"][0]["layers"]["ambience"]["energy_requested"])
    for prompt, is_own in (("wind", False), ("a hammer", True)):
        estimate = bare_rewas(
            "energy", media / "ball.mp4", "--pack", worded, "--prompt", prompt, "--level", "raw", "--json"
        ).json()
        curve = EnergyCurve(np.asarray(estimate["values"], np.float32), Fraction(estimate["rate_hz"]))
        expected = curve.resample(Fraction(report["energy"]["rate_hz"]), len(followed))
        assert np.allclose(followed, expected, atol=1e-4) is is_own


def test_a_level_needs_a_prompt_and_must_exist(bare_rewas: Rewas, media: Path) -> None:
    for options, message in (
        (["--level", "raw"], "no effect without --prompt"),
        (["--prompt", "rain", "--level", "raw", "--from", "audio"], "not estimated from the video"),
        (["--prompt", "rain", "--level", "loud"], "no level “loud”"),
    ):
        refused = bare_rewas("energy", media / "ball.mp4", *options)
        assert refused.code != 0
        assert message in refused.errors
