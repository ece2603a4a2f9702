"""Generate the code of rewas_api from the .proto files. Run it with a Python that has the pinned grpcio-tools.

    .venv-protoc/bin/python scripts/dev/generate_contract.py [--output FOLDER]

The tools are old on purpose: generated code runs with the version of protobuf that generated it or a newer one, never
with an older one, and the add-on runs with many versions. The generated modules use relative imports, so that
`rewas_api` works wherever it is installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTO_ROOT = ROOT / "proto"
SOURCE = "rewas/v1/rewas.proto"
PINNED_TOOLS = "1.66.2"
PACKAGE_DOC = '"""Code generated from rewas/v1/rewas.proto by scripts/dev/generate_contract.py; do not edit."""\n'


def generate(output: Path) -> list[Path]:
    """Write the generated package to `output` and return its files. Raises SystemExit without the pinned tools."""
    _require_pinned_tools()
    from grpc_tools import protoc

    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        well_known = Path(protoc.__file__).parent / "_proto"
        arguments = ["protoc", f"-I{PROTO_ROOT}", f"-I{well_known}"]
        arguments += [f"--{kind}_out={scratch}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main([*arguments, SOURCE]) != 0:
            raise SystemExit("protoc rejected the contract; see its messages above.")
        written = []
        for path in sorted((Path(scratch) / SOURCE).parent.iterdir()):
            text = path.read_text(encoding="utf-8").replace("from rewas.v1 import", "from . import")
            written.append(output / path.name)
            written[-1].write_text(text, encoding="utf-8")
    written.append(output / "__init__.py")
    written[-1].write_text(PACKAGE_DOC, encoding="utf-8")
    return written


def _require_pinned_tools() -> None:
    try:
        found = version("grpcio-tools")
    except PackageNotFoundError:
        raise SystemExit(f"This Python has no grpcio-tools; install grpcio-tools=={PINNED_TOOLS}.") from None
    if found != PINNED_TOOLS:
        raise SystemExit(f"This Python has grpcio-tools {found}; the contract is generated with {PINNED_TOOLS}.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=PROTO_ROOT / "rewas_api" / "v1")
    for path in generate(parser.parse_args().output):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
