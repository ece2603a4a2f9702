"""The engine's public interface is frozen: this test fails if a name, a parameter or a default changes.

After an intended change, update the file with `python tests/repository/test_engine_interface.py` and check the diff.
"""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import rewas_engine

INTERFACE = Path(__file__).with_name("engine_interface.txt")


def describe_module(module: ModuleType) -> str:
    return "\n".join(line for name in module.__all__ for line in describe(name, getattr(module, name))) + "\n"


def describe(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})"
        yield from (f"    {line}" for line in describe_members(value))
    elif callable(value) and hasattr(value, "__name__"):
        yield f"def {name}{inspect.signature(value)}"
    else:
        yield f"{name} = {value!r}"


def describe_members(kind: type) -> Iterator[str]:
    if issubclass(kind, Enum):
        yield from (f"{member.name} = {member.value!r}" for member in kind)
    for name, annotation in sorted(vars(kind).get("__annotations__", {}).items()):
        if not name.startswith("_"):
            yield f"{name}: {annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)}"
    for name, member in sorted(vars(kind).items()):
        if name.startswith("_") and (name != "__init__" or getattr(kind, "_is_protocol", False)):
            continue
        if isinstance(member, property):
            yield f"@property {name}"
        elif isinstance(member, classmethod):
            yield f"@classmethod {name}{inspect.signature(member.__func__)}"
        elif isinstance(member, staticmethod):
            yield f"@staticmethod {name}{inspect.signature(member.__func__)}"
        elif inspect.isfunction(member):
            yield f"def {name}{inspect.signature(member)}"


def test_the_public_interface_is_unchanged() -> None:
    assert describe_module(rewas_engine) == INTERFACE.read_text(encoding="utf-8")


def test_importing_a_part_of_the_engine_loads_no_other() -> None:
    code = "import rewas_engine.errors, sys; print([name for name in ('numpy', 'av', 'torch') if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_every_public_name_has_a_docstring() -> None:
    exports = {name: getattr(rewas_engine, name) for name in rewas_engine.__all__}
    assert not [name for name, export in exports.items() if callable(export) and not inspect.getdoc(export)]


if __name__ == "__main__":
    INTERFACE.write_text(describe_module(rewas_engine), encoding="utf-8")
