"""`rewas serve`: the server on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import (
    CompileOption,
    ConflictModelOption,
    LowMemoryOption,
    PrecisionOption,
    build_execution,
)


def serve(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 picks one.")] = None,
    allow_root: Annotated[
        list[Path] | None,
        typer.Option(
            "--allow-root",
            "--allow",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="A folder under which media may be read by path; give it once for each. "
            "Without it: your home, this folder, and mounted drives.",
        ),
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", metavar="DIR", file_okay=False, help="Where jobs and stems are kept.")
    ] = None,
    pack: Annotated[
        str | None, typer.Option("--pack", metavar="NAME", help="The pack used when none is named.")
    ] = None,
    conflict_model: ConflictModelOption = None,
    device: Annotated[str, typer.Option("--device", help="Where the model runs: auto, cpu, cuda:0.")] = "auto",
    precision: PrecisionOption = None,
    compiled: CompileOption = False,
    low_memory: LowMemoryOption = False,
) -> None:
    """Run the server that editors talk to, on this machine only, until Ctrl-C."""
    from rewas_cli.console import note
    from rewas_cli.runner import check_conflict_model
    from rewas_server.config import ServerConfig
    from rewas_server.grpc.app import serve as run_server

    if conflict_model is not None:
        check_conflict_model(conflict_model)
    given = {
        "port": port,
        "allowed_roots": tuple(root.resolve() for root in allow_root) if allow_root else None,
        "state_dir": state_dir.absolute() if state_dir else None,
        "default_pack": pack,
        "device": device,
        "execution": build_execution(precision, compiled, low_memory),
        "conflict_model": conflict_model.absolute() if conflict_model else None,
    }
    config = ServerConfig(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    run_server(config, lambda bound_port: note(f"ReWaS listens on 127.0.0.1:{bound_port}. Ctrl-C ends it."))
