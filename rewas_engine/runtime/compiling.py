"""Report failures of torch.compile in one sentence instead of a compiler log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rewas_engine.errors import SettingsError

_COMPILER_MODULES = ("torch._dynamo", "torch._inductor", "torch.fx", "triton")


@contextlib.contextmanager
def report_compile_errors() -> Iterator[None]:
    """Turn compiler failures inside the block into SettingsError."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(_COMPILER_MODULES):
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise SettingsError(
            f"The networks cannot be compiled on this machine ({reason.rstrip('.')}).",
            "Leave out --compile, or install what torch.compile needs: a C++ compiler, and Triton for a GPU.",
        ) from error
