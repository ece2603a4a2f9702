"""Write a copy of a pack with one newly trained part: φ or the adapter."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from rewas_engine.packs.components import WEIGHTS_FILE, save_component
from rewas_engine.packs.description import DESCRIPTION_FILE, PackDescription, new_pack_folder, write_description
from rewas_engine.recipes.model_card import FIGURES_FILE
from rewas_engine.recipes.pack_terms import VERSION, PackTerms, combine_terms

_NOT_COPIED = ("README.md", "figures.json", DESCRIPTION_FILE)


def write_pack_with(
    source: PackDescription,
    folder: Path,
    role: str,
    module: torch.nn.Module,
    terms: PackTerms,
    *,
    summary: str,
    controls: tuple[str, ...],
    report: Mapping[str, Any],
) -> Path:
    """Write a copy of a pack into a new folder, with one component replaced in the same precision.

    Args:
        source: The pack to copy.
        folder: The new folder.
        role: Role of the component.
        module: The component.
        terms: Name and terms of the pack.
        summary: One sentence.
        controls: Controls that the adapter supports.
        report: Report of the training, written next to the card.

    Raises:
        PackError: The folder exists.
    """
    document = tomllib.loads((source.path / DESCRIPTION_FILE).read_text("utf-8"))
    description = {key: value for key, value in document.items() if key not in ("format", "files")}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_pack_folder(folder) as unfinished:
        for path in sorted(source.path.iterdir()):
            if path.is_dir() and path.name != role:
                shutil.copytree(path, unfinished / path.name)
            elif path.is_file() and path.name not in _NOT_COPIED:
                shutil.copyfile(path, unfinished / path.name)
        save_component(module, unfinished, role, _precision_of(source.path / role / WEIGHTS_FILE))
        (unfinished / FIGURES_FILE).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        (unfinished / "README.md").write_text(_card(source, terms, summary, report), "utf-8")
        write_description(
            unfinished,
            {
                **description,
                "name": terms.name,
                "version": VERSION,
                "summary": summary,
                **combine_terms(terms, source.info),
                "controls": list(controls),
                "components": {**source.components, role: type(module).__name__},
            },
        )
    return folder


def _precision_of(weights: Path) -> torch.dtype:
    with safe_open(weights, framework="pt") as file:
        dtypes = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 (not a mapping)
    return next((dtype for dtype in dtypes if dtype.is_floating_point), torch.float32)


def _card(source: PackDescription, terms: PackTerms, summary: str, report: Mapping[str, Any]) -> str:
    figures = "\n".join(f"| {name} | {value:.4g} |" for name, value in report["figures"].items())
    return f"""# {terms.name}

{summary}

Licence: {terms.licence}. {terms.permits}

Everything except the part named above is from {source.info.name} {source.info.version}, whose terms also apply:
{source.info.licence}. {source.info.permits}

Trained on {report["training_clips"]} clips, measured on {report["judged_clips"]} held-out clips:

| figure | value |
|---|---|
{figures}

Settings and progress of the training are in `{FIGURES_FILE}`.
"""
