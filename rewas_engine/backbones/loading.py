"""A pack's components, loaded as its family loads them."""

from __future__ import annotations

from typing import Any

from torch import nn

from rewas_engine.backbones.families import find_family
from rewas_engine.components import load_component
from rewas_engine.packs import PackDescription


def load_components(description: PackDescription, device: str) -> dict[str, Any]:
    """Role -> component of a pack, in float32 and evaluation mode, on a device. Raises PackError."""
    family = find_family(description.family)
    components = {
        role: load_component(description.path, role, class_name, family.loaders)
        for role, class_name in description.components.items()
    }
    for component in components.values():
        if isinstance(component, nn.Module):
            component.to(device)
    return components
