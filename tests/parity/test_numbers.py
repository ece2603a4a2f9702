"""Files of the reference's numbers: cut down without loss of what is compared, named where they are incomplete."""

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
def cutting() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "cut_parity_numbers", ROOT / "scripts" / "measure" / "cut_parity_numbers.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cut(cutting: ModuleType, folder: Path, file: str) -> ReferenceArrays:
    """What is kept of a file, as it is read again."""
    path = folder / f"{file}.npz"
    np.savez_compressed(path, **dict(cutting.extract_arrays(folder, file)))
    return ReferenceArrays(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "golden").mkdir()
    return tmp_path


def test_what_is_kept_is_what_was_computed(cutting: ModuleType, folder: Path) -> None:
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
    kept = cut(cutting, folder, "ddim_tiny")
    assert set(kept) == {"noises", "final", "eta"}
    assert float(kept["eta"]) == 1.0
    assert np.array_equal(kept["noises"], noises)
    final = kept["final"]
    assert isinstance(final, SampledArray)
    assert final.values.size == outputs.size / 16
    assert compare("final", outputs, final).difference == 0
    assert kept.path.stat().st_size < outputs.nbytes / 8


def test_a_part_is_compared_as_the_whole_is(cutting: ModuleType, folder: Path) -> None:
    outputs = np.random.default_rng(2).normal(size=(60, 100))
    np.savez(folder / "golden" / "phi.npz", out=outputs)
    kept = cut(cutting, folder, "phi")["out"]
    moved = outputs.copy()
    moved[0, 16] += 0.1
    assert compare("out", moved, kept).difference == pytest.approx(compare("out", moved, outputs).difference)
    assert not compare("out", outputs.T, kept).passed
    assert not compare("out", outputs.reshape(-1), kept).passed
    # A place that is not kept is looked at too where it holds no number.
    moved[0, 1] = np.nan
    assert compare("out", moved, kept).difference == float("inf")


def test_arrays_in_two_files_are_kept_once(cutting: ModuleType, folder: Path) -> None:
    log_mel = np.random.default_rng(3).normal(size=(512, 64)).astype(np.float32)
    np.savez(folder / "golden" / "energy.npz", log_mel=log_mel)
    np.savez(folder / "golden" / "vae_hifigan_full.npz", log_mel_in=log_mel[None, None])
    cut(cutting, folder, "energy")
    kept = cut(cutting, folder, "vae_hifigan_full")
    assert np.array_equal(kept["log_mel_in"], log_mel[None, None])
    assert kept.path.stat().st_size < 2000


def test_other_inputs_than_a_seed_s_are_not_cut_away(cutting: ModuleType, folder: Path) -> None:
    np.savez(folder / "golden" / "ddim_tiny.npz", noises=draw_normal(NOISE_SEED + 1, (2, 5)))
    with pytest.raises(ReferenceArraysError, match="ddim_tiny/noises is not drawn by 77"):
        dict(cutting.extract_arrays(folder, "ddim_tiny"))


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", one=np.ones(3))
    with pytest.raises(ReferenceArraysError, match=r"some.npz holds no array two\. Give a whole folder"):
        ReferenceArrays(tmp_path / "some.npz")["two"]


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_missing_or_broken_file_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReferenceArraysError, match=r"some\.npz"):
        ReferenceArrays(path).check()


def test_a_cut_off_archive_is_named(tmp_path: Path) -> None:
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
