"""One small pack for all engine tests: real classes with random weights, so only its sound is noise."""

import os
from pathlib import Path

import pytest

# No test may download a model.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of random weights. Tests that change a pack change a copy."""
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    return write_untrained_pack(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture(scope="session")
def model(tiny_pack: Path):
    """The tiny pack, loaded."""
    from rewas_engine import ReWaS

    return ReWaS.from_pretrained(tiny_pack, device="cpu")


@pytest.fixture
def reading_all_controls(model, monkeypatch: pytest.MonkeyPatch):
    """The tiny pack with an adapter that reads all controls and whose zero convolutions are not zero."""
    import torch

    from rewas_engine.conditioning.controls import CONTROL_NAMES, hint_channels
    from rewas_engine.models.adapter import EnergyAdapter

    torch.manual_seed(0)
    adapter = EnergyAdapter.from_denoiser(model._components["denoiser"], 16, hint_channels(8, 4))
    torch.nn.init.constant_(adapter.middle_zero_conv.weight, 0.3)
    monkeypatch.setitem(model._components._held, "adapter", adapter.eval().requires_grad_(False))
    monkeypatch.setattr(model, "pack", type(model.pack)(**{**vars(model.pack), "controls": CONTROL_NAMES}))
    model.clear_cache()  # cached hints of another adapter
    yield model
    model.clear_cache()


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 21 seconds at 24000/1001, with sound."""
    from numbered_clips import noise, write_numbered_clip

    return write_numbered_clip(
        tmp_path_factory.mktemp("clips") / "long.mkv", frames=504, rate="24000/1001", sound=noise(21 * 16_000)
    )
