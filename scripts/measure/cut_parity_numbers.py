"""Reduce the reference implementation's arrays to the small set in tests/parity/numbers.

    python scripts/measure/cut_parity_numbers.py [--output FOLDER] [PARITY]

PARITY is the folder with golden/*.npz. The result is deterministic. Small arrays and inputs that cannot be regenerated
are kept whole, large outputs keep every 16th value, seeded inputs keep only the seed, and arrays that occur in two
files are stored once (`rewas_engine.parity.reference_arrays`).
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.parity.checks import FILES, open_arrays
from rewas_engine.parity.reference_arrays import MARK, ReferenceArraysError, draw_normal

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_STRIDE = 16
SMALL = 4096
"""Arrays with at most this many values are kept whole."""
WHOLE_ARRAYS = {
    "energy": ("waveform_raw", "log_mel", "mel_filterbank"),  # the filter bank is nearly all zeros
    "energy_mae": ("waveform_raw_pred",),
    "motionformer_full": ("frames_small_uint8",),
    "unet_adapter_full": ("hint_latent",),
}
SEEDED_INPUTS: Mapping[str, Mapping[str, str | int]] = {
    "tiny_unet_adapter": {"x": "tiny_x", "hint": "tiny_hint"},
    "ddim_tiny": {"x_T": "ddim_xT", "hint": "tiny_hint", "noises": 77},
    "phi": {"x_b1": "phi_x1", "x_b3": "phi_x3"},
    "vae_hifigan_full": {"z": "vae_z"},
    "unet_adapter_full": {"x": "full_x"},
}
"""Seeds of inputs. A name stands for its CRC-32."""
SHARED_ARRAYS = {
    "energy_mae": {"waveform_raw_gt": "energy/waveform_raw"},
    "vae_hifigan_full": {"log_mel_in": "energy/log_mel", "vocoder_in_mel_T_first": "energy/log_mel"},
}
UNUSED_ARRAYS = {
    "av_align": ("frames_bgr_uint8", "flow_magnitude", "wav_16k_pcm", "audio_22050", "onset_env"),
    "ddim_tiny": ("hint_uncond",),
}
"""Arrays that no check reads."""


def main() -> int:
    """Write the small files. Exit code 2 means that arrays are missing or unexpected."""
    parser = argparse.ArgumentParser(description="Reduce the reference arrays to what the tests need.")
    parser.add_argument("parity", type=Path, nargs="?", default=None, help="folder with the reference arrays")
    parser.add_argument("--output", type=Path, default=ROOT / "tests" / "parity" / "numbers")
    arguments = parser.parse_args()
    parity = arguments.parity or Path(os.environ.get("PARITY") or ROOT.parent / "shared" / "parity")
    golden = arguments.output / "golden"
    golden.mkdir(parents=True, exist_ok=True)
    try:
        for file in FILES:
            np.savez_compressed(golden / f"{file}.npz", **dict(extract_arrays(parity, file)))
    except ReferenceArraysError as error:
        print(error, file=sys.stderr)
        return 2
    total = sum((golden / f"{file}.npz").stat().st_size for file in FILES)
    print(f"{len(FILES)} files ({total / 1e6:.2f} MB) written to {golden}.")
    return 0


def extract_arrays(parity: Path, file: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays to store for one file, by name.

    Raises ReferenceArraysError if an array does not match its seed or its copy in another file.
    """
    numbers = open_arrays(parity, file)
    for name in numbers:
        # The weights of the small networks come from the recipe.
        if name.startswith("w:") or name in UNUSED_ARRAYS.get(file, ()):
            continue
        array = numbers[name]
        seed, twin = SEEDED_INPUTS.get(file, {}).get(name), SHARED_ARRAYS.get(file, {}).get(name)
        if seed is not None:
            number = zlib.crc32(seed.encode()) if isinstance(seed, str) else seed
            _check(array, draw_normal(number, array.shape), f"{file}/{name} is not drawn by {seed!r}.")
            yield from _with_metadata(name, array, drawn=np.uint32(number))
        elif twin is not None:
            other, _, its_name = twin.partition("/")
            _check(array.ravel(), open_arrays(parity, other)[its_name].ravel(), f"{file}/{name} is not {twin}.")
            yield from _with_metadata(name, array, same=twin)
        elif array.size <= SMALL or name in WHOLE_ARRAYS.get(file, ()):
            yield name, array
        else:
            yield name, array.ravel()[::SAMPLE_STRIDE]
            yield from _with_metadata(name, array, every=SAMPLE_STRIDE, std=np.asarray(array, np.float64).std())


def _with_metadata(name: str, array: NDArray[Any], **metadata: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    for mark, value in {"shape": array.shape, **metadata}.items():
        yield f"{name}{MARK}{mark}", np.asarray(value)


def _check(array: NDArray[Any], expected: NDArray[Any], problem: str) -> None:
    if not np.array_equal(array, expected):
        raise ReferenceArraysError(problem)


if __name__ == "__main__":
    sys.exit(main())
