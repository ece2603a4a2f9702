"""Synthetic checkpoints of a small size under the released names, and the pack that they become."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def released_files(tmp_path_factory: pytest.TempPathFactory):
    """All six files and a tokenizer. Tests that spoil a file spoil a copy."""
    from rewas_engine.conversion.sizes import SMALL
    from rewas_engine.parity.synthetic import write_synthetic_checkpoints

    return write_synthetic_checkpoints(tmp_path_factory.mktemp("checkpoints"), SMALL)


@pytest.fixture(scope="session")
def released_pack(released_files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of those checkpoints, in float32."""
    from rewas_engine.conversion.released import convert_released
    from rewas_engine.conversion.sizes import SMALL

    return convert_released(released_files, tmp_path_factory.mktemp("packs") / "released", sizes=SMALL)


@pytest.fixture(scope="session")
def released_model(released_pack: Path):
    """That pack, loaded."""
    from rewas_engine import ReWaS

    return ReWaS.from_pretrained(released_pack, device="cpu")
