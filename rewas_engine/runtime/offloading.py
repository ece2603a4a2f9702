"""Offloading: keep all networks of a pack in memory, or only those in use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import nn

_ROLE_GROUPS = (
    {"text_encoder", "text_projection"},
    {"video_encoder", "phi"},
    {"denoiser", "adapter"},
)
"""Roles that are used together, so that loading one must not offload the other. All others are used alone."""


class PackComponents(Mapping[str, Any]):
    """A pack's components by role.

    With low memory, accessing a component offloads all that are not used together with it; they are read from disk
    again when needed. A reference to a component keeps it in memory, so look it up again instead of storing it.
    """

    def __init__(self, load: Callable[[str], Any], roles: Iterable[str], *, low_memory: bool = False) -> None:
        """Load all components, unless `low_memory` is set.

        Args:
            load: Builds the component of a role, ready for use on its device.
            roles: All roles of the pack.
            low_memory: Load components on access.
        """
        self._load, self._roles, self._low_memory = load, tuple(roles), low_memory
        self._held: dict[str, Any] = {}
        self._changing = threading.RLock()
        if not low_memory:
            for role in self._roles:
                self._held[role] = load(role)

    def __getitem__(self, role: str) -> Any:
        # Several threads may use a pack, and load and offload its components.
        with self._changing:
            return self._held[role] if role in self._held else self._load_role(role)

    def _load_role(self, role: str) -> Any:
        if role not in self._roles:
            raise KeyError(role)
        if self._low_memory:
            group = next((roles for roles in _ROLE_GROUPS if role in roles), {role})
            for other in [held for held in self._held if held not in group]:
                if isinstance(self._held[other], nn.Module):
                    del self._held[other]
        self._held[role] = self._load(role)
        return self._held[role]

    def __contains__(self, role: object) -> bool:
        return role in self._roles

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)

    def offload(self) -> None:
        """With low memory, release every network until it is accessed again."""
        if self._low_memory:
            with self._changing:
                self._held = {role: held for role, held in self._held.items() if not isinstance(held, nn.Module)}

    @property
    def loaded_roles(self) -> tuple[str, ...]:
        """Roles whose components are in memory."""
        return tuple(self._held)

    @property
    def weight_bytes(self) -> dict[str, int]:
        """Size of the weights in memory, by role."""
        return {
            role: sum(tensor.nbytes for tensor in module.state_dict().values())
            for role, module in self._held.items()
            if isinstance(module, nn.Module)
        }
