"""The starting point of a training: random weights, or the components of an existing pack."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from rewas_engine.packs.components import load_component
from rewas_engine.packs.description import PackDescription, find_pack, read_model_pack, verify_files
from rewas_engine.world import CLASS_NAMES

NOTHING = "nothing"
"""Name of the starting point of a stage that does not continue a pack."""


class StartingPoint:
    """The pack that a training starts from, if any. Every stage gets its component from here.

    Args:
        pack: Name or folder of the pack; "" for none.

    Raises:
        PackError: The pack is not installed or is damaged.
    """

    def __init__(self, pack: str) -> None:
        self._description: PackDescription | None = read_model_pack(find_pack(pack)) if pack else None
        if self._description is not None:
            verify_files(self._description)

    @cached_property
    def name(self) -> str:
        """The pack's name and version, or NOTHING."""
        if self._description is None:
            return NOTHING
        return f"{self._description.info.name} {self._description.info.version}"

    @property
    def fingerprint(self) -> str:
        """Name and version of the pack with a hash of its files, independent of its location; "" without a pack."""
        if self._description is None:
            return ""
        return f"{self.name} {self._description.fingerprint[:12]}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the world that the pack knows, in its order; () without a pack.

        Packs of earlier versions do not name theirs: they know those with a picture.
        """
        if self._description is None:
            return ()
        return self._description.info.kinds or CLASS_NAMES

    @property
    def path(self) -> Path | None:
        """Folder of the pack, if any."""
        return None if self._description is None else self._description.path

    def fill(self, module: nn.Module, role: str) -> str:
        """Copy the weights of the pack's component of the same role into a new module.

        If class or shapes differ, the module stays unchanged. Parts that the component lacks may be new if the class
        names them in NEUTRAL_PARTS.

        Returns:
            Name of the starting point: name and version of the pack, or NOTHING.
        """
        found = self.component(role)
        if found is None or type(found) is not type(module):
            return NOTHING
        return self.name if copy_known_weights(found, module) else NOTHING

    def component(self, role: str) -> nn.Module | None:
        """Load the component of a role from the pack; None if there is none."""
        if self._description is None or role not in self._description.components:
            return None
        module: nn.Module = load_component(self._description.path, role, self._description.components[role])
        return module


def copy_known_weights(found: nn.Module, module: nn.Module) -> bool:
    """Copy the weights of a module into another one of its class, which may have more parts.

    Returns:
        Whether the weights fit. They do if every tensor has its counterpart of the same shape, and if further parts are
        among the NEUTRAL_PARTS of the class: those start without an effect. Otherwise nothing is copied.
    """
    theirs, ours = found.state_dict(), module.state_dict()
    neutral: tuple[str, ...] = getattr(module, "NEUTRAL_PARTS", ())
    further = ours.keys() - theirs.keys()
    fits = all(name in ours and ours[name].shape == tensor.shape for name, tensor in theirs.items())
    if not fits or any(name.split(".")[0] not in neutral for name in further):
        return False
    with torch.no_grad():
        module.load_state_dict({**ours, **theirs})
    return True
