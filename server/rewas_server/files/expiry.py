"""The choice of what to delete: what is too old, then the oldest until everything fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class StoredItem:
    """Something that takes up space.

    Attributes:
        key: Identifies it.
        size_bytes: Space that its deletion frees.
        used_at_s: Unix time of its last use.
        in_use: Whether something still needs it.
        pinned: Whether a client has asked to keep it.
    """

    key: str
    size_bytes: int
    used_at_s: float
    in_use: bool = False
    pinned: bool = False

    @property
    def is_protected(self) -> bool:
        """Whether it must not be deleted."""
        return self.in_use or self.pinned


def choose_expired(
    items: Iterable[StoredItem], *, now_s: float, max_age_s: float, limit_bytes: int, free_bytes: int = 0
) -> list[StoredItem]:
    """Choose what to delete, oldest first.

    Args:
        items: Everything that is stored, in any order.
        now_s: Unix time.
        max_age_s: Age above which an item is deleted.
        limit_bytes: Size above which the oldest items are deleted until the rest fits. Protected items count too.
        free_bytes: Number of bytes to free at least, even if the limit is kept.

    Returns:
        The items to delete. None of them is protected. Fewer bytes than asked for if only protected items are left.
    """
    by_age = sorted(items, key=lambda item: (item.used_at_s, item.key))
    excess_bytes = max(sum(item.size_bytes for item in by_age) - limit_bytes, free_bytes)
    chosen = []
    for item in by_age:
        is_needed = item.size_bytes > 0 and excess_bytes > 0
        if item.is_protected or not (is_needed or now_s - item.used_at_s > max_age_s):
            continue
        chosen.append(item)
        excess_bytes -= item.size_bytes
    return chosen
