"""Write trained components as a pack."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rewas_engine.conditioning.controls import supported_controls
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.packs.components import CONFIG_FILE, config_json, save_component
from rewas_engine.packs.description import DESCRIPTION_FILE, new_pack_folder, read_pack, write_description

SAMPLING = {
    "num_steps": 10,
    "guidance_scale": 1.0,
    "onsets_guidance_scale": 2.0,
    "eta": 0.0,
    "unguided_share": 0.4,
    "precision": "bfloat16",
}
"""Sampling defaults of trained packs, chosen on the development split of the world.

Steps and guidance scale come from `rewas eval --choose`; the guidance scale for onsets and the share of unguided steps
were chosen manually. Guidance makes loud frames louder than requested. If only the times of strikes are given, it makes
them stand out.
"""
LICENCE = "Apache-2.0"
PERMITS = "Free for any use, including commercial use: the pack under Apache-2.0, its sounds without conditions."


def write_pack(
    components: Mapping[str, torch.nn.Module],
    folder: Path,
    *,
    schedule: Any,
    sentence_encoder: Mapping[str, Any],
    audio: MelConfig,
    version: str,
    summary: str,
    licence: str = LICENCE,
    permits: str = PERMITS,
    made_from: str = "",
    dtype: torch.dtype = torch.float16,
    sampling: Mapping[str, Any] = SAMPLING,
    kinds: Sequence[str] = (),
) -> Path:
    """Write a pack into a new folder, atomically. Its name is that of the folder.

    The model card README.md is not hashed and can be written later.

    Args:
        components: Modules by role, without the schedule and the sentence encoder.
        folder: The new folder.
        schedule: The noise schedule.
        sentence_encoder: Configuration of the text encoder.
        audio: Audio format.
        version: Version of the pack.
        summary: One sentence.
        licence: SPDX identifier.
        permits: What the licence permits, in one sentence.
        made_from: Name and version of the continued pack, if any.
        dtype: Type of the stored weights.
        sampling: Sampling defaults.
        kinds: Kinds of sound that the pack was trained on, as classes of the synthetic world.

    Raises:
        PackError: The folder exists.
    """
    classes = {role: type(module).__name__ for role, module in components.items()}
    with new_pack_folder(folder) as unfinished:
        for role, module in components.items():
            save_component(module, unfinished, role, dtype)
        write_config(unfinished, "schedule", config_json(schedule))
        write_config(unfinished, "text_encoder", json.dumps(dict(sentence_encoder), indent=1) + "\n")
        write_description(
            unfinished,
            {
                "name": folder.name,
                "version": version,
                "summary": summary,
                "licence": licence,
                "permits": permits,
                **({"made_from": made_from} if made_from else {}),
                **({"kinds": list(kinds)} if kinds else {}),
                "family": "audioldm",
                "controls": list(supported_controls(components["adapter"])),
                "components": {**classes, "schedule": type(schedule).__name__, "text_encoder": "SentenceEncoder"},
                "audio": asdict(audio),
                "window": {"frames": 512, "overlap_frames": 128, "patch": 4},
                "sampling": dict(sampling),
                "picture": {
                    "frame_rate": "25",
                    "width": 64,
                    "height": 64,
                    "window_frames": 128,
                    "overlap_frames": 32,
                },
            },
        )
    return folder


def make_version_unique(folder: Path) -> str:
    """Append "+" and eight digits of the fingerprint to the version of a pack, and return it.

    In semantic versioning this is build metadata. It makes the version in the metadata of a sound unambiguous.
    """
    document = tomllib.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))
    document["version"] += f"+{read_pack(folder).fingerprint[:8]}"
    write_description(folder, {name: value for name, value in document.items() if name not in ("format", "files")})
    return str(document["version"])


def write_config(folder: Path, role: str, text: str) -> None:
    """Write the config.json of a component without weights into a pack's folder."""
    (folder / role).mkdir(parents=True, exist_ok=True)
    (folder / role / CONFIG_FILE).write_text(text, "utf-8")
