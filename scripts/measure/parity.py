"""Compare our code with arrays of the reference implementation, and print the deviation of each.

    python scripts/measure/parity.py [--small] [--markdown FILE]

PARITY: folder with golden/*.npz and manifests/*.json. PREFIX is put before every key of the weight recipe. --small
skips the full-size networks. Without it, synthetic checkpoints with the released names are converted into a pack, whose
networks are compared; then the pack generates a WAV from a video file. That needs 8 GB of disk in TMPDIR.

The table goes to standard output row by row, followed by the number of rows; progress goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rewas_engine.conversion.parts import released_parts
from rewas_engine.conversion.released import convert_released
from rewas_engine.conversion.sizes import RELEASED
from rewas_engine.packs.components import load_component
from rewas_engine.packs.description import read_pack
from rewas_engine.parity import checks as golden
from rewas_engine.parity.comparison import Comparison, compare, table
from rewas_engine.parity.reference_arrays import ReferenceArraysError
from rewas_engine.parity.synthetic_checkpoints import MANIFESTS, manifest_shapes, write_synthetic_checkpoints
from rewas_engine.parity.synthetic_weights import recipe_module

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the checks. Exit code 0: all arrays are within bounds. 1: some are not. 2: reference arrays are missing."""
    parser = argparse.ArgumentParser(description="Compare our code with the reference implementation.")
    parser.add_argument("--small", action="store_true", help="skip the full-size networks except φ")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("PARITY") or ROOT.parent / "shared" / "parity")
    if not (folder / "golden").is_dir():
        print(f"No reference arrays in {folder}. Set their folder: make parity PARITY=<folder>", file=sys.stderr)
        return 2
    try:
        rows = _compare_all(folder, os.environ.get("PREFIX", ""), arguments.small)
    except ReferenceArraysError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.markdown is not None:
        arguments.markdown.write_text("\n".join(table(rows)) + "\n", "utf-8")
    failed = [row for row in rows if not row.passed]
    print(f"{len(rows) - len(failed)} of {len(rows)} arrays are within their bounds.")
    return 1 if failed else 0


def _compare_all(folder: Path, prefix: str, is_small: bool) -> list[Comparison]:
    """Compute all rows of the table and print each one when it is ready. Raises ReferenceArraysError."""
    for name in golden.FILES:
        golden.open_arrays(folder, name).check()  # before minutes of work
    print(*table([]), sep="\n", flush=True)
    rows = [*_print_rows(_light_checks(folder)), *_print_rows(_name_checks(folder / "manifests"))]
    if is_small:
        phi = golden.open_arrays(folder, "phi")
        return rows + _print_rows(golden.check_phi(phi, lambda role: recipe_module(role, RELEASED, prefix)))
    with tempfile.TemporaryDirectory(prefix="rewas-parity-") as room:
        pack = _convert_pack(Path(room), folder, prefix)
        rows += _print_rows(_full_checks(folder, pack))
        _generate_sound(pack, Path(room))
    return rows


def _light_checks(folder: Path) -> Iterator[Comparison]:
    arrays = golden.open_arrays(folder, "tiny_unet_adapter")
    tiny = golden.tiny_parts(arrays)
    yield from golden.check_front_end(golden.open_arrays(folder, "energy"))
    yield from golden.check_energy_error(golden.open_arrays(folder, "energy_mae"))
    yield from golden.check_av_align(golden.open_arrays(folder, "av_align"))
    yield from golden.check_tiny_denoiser(arrays, tiny)
    yield from golden.check_sampler(golden.open_arrays(folder, "ddim_tiny"), tiny)


def _name_checks(manifests: Path) -> Iterator[Comparison]:
    """Check that the manifests list our tensors with their shapes, and otherwise only known leftovers."""
    for role, part in released_parts(RELEASED).items():
        listed, stored = manifest_shapes(manifests, role), part.released_shapes(RELEASED)
        other_shape = [name for name, shape in stored.items() if listed.get(name) != shape]
        strange = [name for name in listed if name not in stored and not part.is_ignored(name)]
        yield compare(f"manifest {MANIFESTS[role][0]}", len(other_shape) + len(strange), 0.0, 0.0)


def _full_checks(folder: Path, pack: Path) -> Iterator[Comparison]:
    classes = read_pack(pack).components

    def component(role: str) -> Any:
        return load_component(pack, role, classes[role])

    yield from golden.check_phi(golden.open_arrays(folder, "phi"), component)
    yield from golden.check_video_encoder(golden.open_arrays(folder, "motionformer_full"), component)
    yield from golden.check_codec_and_vocoder(golden.open_arrays(folder, "vae_hifigan_full"), component)
    yield from golden.check_full_denoiser(golden.open_arrays(folder, "unet_adapter_full"), component)


def _convert_pack(room: Path, folder: Path, prefix: str) -> Path:
    """Convert synthetic checkpoints with the released names into a full-size pack."""
    _log("Writing synthetic checkpoints with the released names ...")
    files = write_synthetic_checkpoints(room / "checkpoints", RELEASED, prefix=prefix, manifests=folder / "manifests")
    return convert_released(files, room / "released", on_progress=lambda progress: _log(f"{progress.stage} ..."))


def _generate_sound(pack: Path, room: Path) -> None:
    """Generate a WAV from a video file with the rewas command. Raises CalledProcessError if that fails."""
    _run([sys.executable, ROOT / "scripts" / "demo" / "make_demo_clips.py", room / "clips"])
    clip = sorted((room / "clips").glob("*.mp4"))[0]
    command: list[str | Path] = [
        Path(sys.executable).with_name("rewas"),
        "generate",
        clip,
        "--prompt",
        "rain on a roof",
        "--pack",
        pack,
    ]
    started = time.monotonic()
    _run([*command, "--duration", "2", "--steps", "2", "-o", room / "sound"])
    (wav,) = (room / "sound").rglob("*.wav")
    _log(f"{clip.name} → {wav.name} ({wav.stat().st_size} bytes) in {time.monotonic() - started:.0f} s.")


def _run(command: Sequence[str | Path]) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _print_rows(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Print each row as soon as it is computed, and return all of them."""
    rows = []
    for row in comparisons:
        print(table([row])[-1], flush=True)
        rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
