"""The `rewas` command.

Exit codes: 0 for success; 1 if the work failed or no server answered; 2 for wrong input (options, media, timeline,
pack) and for a refused conflict between prompt and video; 130 after Ctrl-C. Results go to standard output; progress,
notes and errors to standard error. With --json, standard output holds exactly one object: the result, or
{"error": {"what", "remedy", "kind"}}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rewas_cli.startup import exit_on_ctrl_c, limit_thread_spinning, silence_grpc


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    exit_on_ctrl_c(as_json="--json" in arguments)
    limit_thread_spinning()
    silence_grpc()
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code. All output has been written by then."""
    # Imported late: it takes a tenth of a second, during which Ctrl-C must already work.
    from rewas_cli import app as command_line

    return command_line.run(arguments)


if __name__ == "__main__":
    main()
