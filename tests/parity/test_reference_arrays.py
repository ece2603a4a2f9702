"""Files of reference arrays: the subset gives the same comparison, and incomplete files are named."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rewas_engine.parity.comparison import compare
from rewas_engine.parity.reference_arrays import (
    ReferenceArrays,
    ReferenceArraysError,
    SampledArray,
    draw_normal,
    read_manifest,
)
from rewas_engine.parity.synthetic_checkpoints import MANIFESTS, manifest_shapes

ROOT = Path(__file__).resolve().parents[2]
NOISE_SEED = 77


@pytest.fixture(scope="module")
def cut_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "cut_parity_numbers", ROOT / "scripts" / "measure" / "cut_parity_numbers.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cut(cut_script: ModuleType, folder: Path, file: str) -> ReferenceArrays:
    """Cut an array file to its subset and open the result."""
    path = folder / f"{file}.npz"
    np.savez_compressed(path, **dict(cut_script.extract_arrays(folder, file)))
    return ReferenceArrays(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "golden").mkdir()
    return tmp_path


def test_the_subset_has_the_original_values(cut_script: ModuleType, folder: Path) -> None:
    outputs = np.random.default_rng(1).normal(size=(3, 50, 40)).astype(np.float32)
    noises = draw_normal(NOISE_SEED, (2, 5000))
    np.savez(
        folder / "golden" / "ddim_tiny.npz",
        noises=noises,
        final=outputs,
        eta=1.0,
        hint_uncond=outputs,
        **{"w:a": outputs},
    )
    subset = cut(cut_script, folder, "ddim_tiny")
    assert set(subset) == {"noises", "final", "eta"}
    assert float(subset["eta"]) == 1.0
    assert np.array_equal(subset["noises"], noises)
    final = subset["final"]
    assert isinstance(final, SampledArray)
    assert final.values.size == outputs.size / 16
    assert compare("final", outputs, final).difference == 0
    assert subset.path.stat().st_size < outputs.nbytes / 8


def test_a_subset_gives_the_same_difference_as_the_whole(cut_script: ModuleType, folder: Path) -> None:
    outputs = np.random.default_rng(2).normal(size=(60, 100))
    np.savez(folder / "golden" / "phi.npz", out=outputs)
    subset = cut(cut_script, folder, "phi")["out"]
    moved = outputs.copy()
    moved[0, 16] += 0.1
    assert compare("out", moved, subset).difference == pytest.approx(compare("out", moved, outputs).difference)
    assert not compare("out", outputs.T, subset).passed
    assert not compare("out", outputs.reshape(-1), subset).passed
    # Non-finite values are found outside the subset too.
    moved[0, 1] = np.nan
    assert compare("out", moved, subset).difference == float("inf")


def test_an_array_in_two_files_is_stored_once(cut_script: ModuleType, folder: Path) -> None:
    log_mel = np.random.default_rng(3).normal(size=(512, 64)).astype(np.float32)
    np.savez(folder / "golden" / "energy.npz", log_mel=log_mel)
    np.savez(folder / "golden" / "vae_hifigan_full.npz", log_mel_in=log_mel[None, None])
    cut(cut_script, folder, "energy")
    subset = cut(cut_script, folder, "vae_hifigan_full")
    assert np.array_equal(subset["log_mel_in"], log_mel[None, None])
    assert subset.path.stat().st_size < 2000


def test_inputs_not_drawn_from_the_seed_are_refused(cut_script: ModuleType, folder: Path) -> None:
    np.savez(folder / "golden" / "ddim_tiny.npz", noises=draw_normal(NOISE_SEED + 1, (2, 5)))
    with pytest.raises(ReferenceArraysError, match="ddim_tiny/noises is not drawn by 77"):
        dict(cut_script.extract_arrays(folder, "ddim_tiny"))


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", one=np.ones(3))
    with pytest.raises(ReferenceArraysError, match=r"some.npz has no array two\. Provide a complete folder"):
        ReferenceArrays(tmp_path / "some.npz")["two"]


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_missing_or_broken_file_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReferenceArraysError, match=r"some\.npz"):
        ReferenceArrays(path).check()


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, one=np.arange(3000))
    content = bytearray(path.read_bytes())
    content[200:210] = bytes(255 - byte for byte in content[200:210])
    path.write_bytes(content)
    with pytest.raises(ReferenceArraysError, match=r"one in .*some\.npz cannot be read"):
        ReferenceArrays(path)["one"]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"tensors": {"a": {}}}', '{"tensors": {"a": 3}}'])
def test_a_missing_or_broken_manifest_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / f"{MANIFESTS['phi'][0]}.json"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(ReferenceArraysError, match=r"phi\.json"):
        manifest_shapes(tmp_path, "phi")
    path.write_text(json.dumps({"tensors": {"module.a": {"shape": [2, 3]}}}), "utf-8")
    assert read_manifest(path) == {"module.a": (2, 3)}
    assert manifest_shapes(tmp_path, "phi") == {"a": (2, 3)}
