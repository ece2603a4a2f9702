"""Cut the reference implementation's numbers down to what the tests keep of them, in tests/parity/numbers.

    python scripts/measure/cut_parity_numbers.py [--output FOLDER] [PARITY]

PARITY is the folder of the numbers (golden/*.npz). The same numbers give the same arrays every time. Small arrays and
the inputs that nothing can make again are kept whole; of large outputs every 16th value; inputs that were drawn by a
seed are kept as the seed, and sounds and log-mels that stand in two files once
(`rewas_engine.parity.reference_arrays`).
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

from rewas_engine.parity.checks import FILES, opened
from rewas_engine.parity.reference_arrays import MARK, NumbersError, drawn

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_STRIDE = 16
SMALL = 4096
"""Values of an array that is kept whole without being asked for."""
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
"""Inputs by their seeds; a name stands for its CRC-32."""
SHARED_ARRAYS = {
    "energy_mae": {"waveform_raw_gt": "energy/waveform_raw"},
    "vae_hifigan_full": {"log_mel_in": "energy/log_mel", "vocoder_in_mel_T_first": "energy/log_mel"},
}
UNUSED_ARRAYS = {
    "av_align": ("frames_bgr_uint8", "flow_magnitude", "wav_16k_pcm", "audio_22050", "onset_env"),
    "ddim_tiny": ("hint_uncond",),
}
"""What no check reads."""


def main() -> int:
    """Write the small files; the exit code is 2 where the numbers are not all there or not as they are known."""
    parser = argparse.ArgumentParser(description="Cut the reference's numbers down to what the tests keep.")
    parser.add_argument("parity", type=Path, nargs="?", default=None, help="the folder of the numbers")
    parser.add_argument("--output", type=Path, default=ROOT / "tests" / "parity" / "numbers")
    arguments = parser.parse_args()
    parity = arguments.parity or Path(os.environ.get("PARITY") or ROOT.parent / "shared" / "parity")
    golden = arguments.output / "golden"
    golden.mkdir(parents=True, exist_ok=True)
    try:
        for file in FILES:
            np.savez_compressed(golden / f"{file}.npz", **dict(extract_arrays(parity, file)))
    except NumbersError as error:
        print(error, file=sys.stderr)
        return 2
    total = sum((golden / f"{file}.npz").stat().st_size for file in FILES)
    print(f"{len(FILES)} files of {total / 1e6:.2f} MB in all lie in {golden}.")
    return 0


def extract_arrays(parity: Path, file: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """What is kept of one file, by the names under which it is stored.

    Raises NumbersError where an array is not what its seed or its twin gives.
    """
    numbers = opened(parity, file)
    for name in numbers:
        # The weights of the small networks are the recipe's.
        if name.startswith("w:") or name in UNUSED_ARRAYS.get(file, ()):
            continue
        array = numbers[name]
        seed, twin = SEEDED_INPUTS.get(file, {}).get(name), SHARED_ARRAYS.get(file, {}).get(name)
        if seed is not None:
            number = zlib.crc32(seed.encode()) if isinstance(seed, str) else seed
            _check(array, drawn(number, array.shape), f"{file}/{name} is not drawn by {seed!r}.")
            yield from _with_metadata(name, array, drawn=np.uint32(number))
        elif twin is not None:
            other, _, its_name = twin.partition("/")
            _check(array.ravel(), opened(parity, other)[its_name].ravel(), f"{file}/{name} is not {twin}.")
            yield from _with_metadata(name, array, same=twin)
        elif array.size <= SMALL or name in WHOLE_ARRAYS.get(file, ()):
            yield name, array
        else:
            yield name, array.ravel()[::SAMPLE_STRIDE]
            yield from _with_metadata(name, array, every=SAMPLE_STRIDE, std=np.asarray(array, np.float64).std())


def _with_metadata(name: str, array: NDArray[Any], **told: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    for mark, value in {"shape": array.shape, **told}.items():
        yield f"{name}{MARK}{mark}", np.asarray(value)


def _check(array: NDArray[Any], expected: NDArray[Any], problem: str) -> None:
    if not np.array_equal(array, expected):
        raise NumbersError(problem)


if __name__ == "__main__":
    sys.exit(main())
