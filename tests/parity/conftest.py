"""Small synthetic checkpoints with the names of the release, and the pack converted from them."""

import json
import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def released_files(tmp_path_factory: pytest.TempPathFactory):
    """All six files and a tokenizer. Tests that damage a file use a copy."""
    from rewas_engine.conversion.sizes import SMALL
    from rewas_engine.parity.synthetic_checkpoints import write_synthetic_checkpoints

    return write_synthetic_checkpoints(tmp_path_factory.mktemp("checkpoints"), SMALL)


@pytest.fixture(scope="session")
def released_pack(released_files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack converted from those checkpoints, in float32."""
    from rewas_engine.conversion.released import convert_released
    from rewas_engine.conversion.sizes import SMALL

    return convert_released(released_files, tmp_path_factory.mktemp("packs") / "released", sizes=SMALL)


@pytest.fixture(scope="session")
def released_model(released_pack: Path):
    """The loaded pack."""
    from rewas_engine import ReWaS

    return ReWaS.from_pretrained(released_pack, device="cpu")


@pytest.fixture
def audioldm_folder(tmp_path: Path) -> Path:
    """AudioLDM as a saved diffusers pipeline, with the old attention names in its VAE."""
    from safetensors.torch import save_file

    from rewas_engine.conversion.sizes import SMALL
    from rewas_engine.parity.synthetic_weights import recipe_part

    folder = tmp_path / "audioldm"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    names = {"denoiser": "unet", "codec": "vae", "vocoder": "vocoder", "text_encoder": "text_encoder"}
    for role, name in names.items():
        tensors = recipe_part(role, SMALL, prefix="folder.")
        if role == "codec":
            for ours, theirs in old.items():
                tensors = {key.replace(f".{ours}.", f".{theirs}."): tensor for key, tensor in tensors.items()}
        (folder / name).mkdir(parents=True)
        save_file(tensors, folder / name / "diffusion_pytorch_model.safetensors")
    # As downloaded: eight heads on each level, which would give other results.
    (folder / "unet" / "config.json").write_text(json.dumps({"attention_head_dim": 8}))
    (folder / "vae" / "config.json").write_text(json.dumps({"scaling_factor": 0.5}))
    return folder
