"""Results kept by the content that they were worked out from, the most recently used ones, up to a number of bytes."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

DEFAULT_CACHE_BYTES = 64 * 1024**2


class ContentCache:
    """Keeps results by content: words, numbers, arrays. Nothing depends on where they came from or when.

    limit_bytes: of all results together; a larger one is not kept, and 0 keeps nothing. hits, misses: how often a
    result was there, and how often not.
    """

    def __init__(self, limit_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._limit_bytes, self._held_bytes = limit_bytes, 0
        self._results: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def of(self, kind: str, content: Any, work: Callable[[], Any]) -> Any:
        """The result of `work` on this content, worked out once as long as it is kept; it must not be changed.

        kind: what is worked out; the same content of another kind is another thing. content: text, numbers, arrays,
        None, or sequences of those.
        """
        key = content_key((kind, content))
        with self._lock:
            if key in self._results:
                self.hits += 1
                self._results.move_to_end(key)
                return self._results[key][0]
            self.misses += 1
        result = work()
        size = _size_bytes(result)
        if size <= self._limit_bytes:
            with self._lock:
                self._held_bytes += size - self._results.pop(key, (None, 0))[1]
                self._results[key] = (result, size)
                while self._held_bytes > self._limit_bytes:
                    self._held_bytes -= self._results.popitem(last=False)[1][1]
        return result

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._results.clear()
            self._held_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What is kept now."""
        return self._held_bytes


def content_key(content: Any) -> str:
    """A hash of a content: the same for equal ones, whatever holds them. Raises TypeError for what has no content."""
    digest = hashlib.blake2b(digest_size=16)
    _update_digest(digest, content)
    return digest.hexdigest()


def _update_digest(digest: Any, content: Any) -> None:
    if isinstance(content, torch.Tensor):
        content = content.detach().cpu().numpy()
    if isinstance(content, np.ndarray):
        digest.update(f"array {content.dtype.str} {content.shape} ".encode())
        digest.update(np.ascontiguousarray(content).data)
    elif isinstance(content, list | tuple):
        digest.update(f"sequence {len(content)} ".encode())
        for part in content:
            _update_digest(digest, part)
    elif content is None or isinstance(content, str | int | float):
        written = repr(content).encode()
        digest.update(f"{type(content).__name__} {len(written)} ".encode() + written)
    else:
        raise TypeError(f"a {type(content).__name__} has no content to be known by")


def _size_bytes(result: Any) -> int:
    if isinstance(result, torch.Tensor | np.ndarray):
        return int(result.nbytes)
    if isinstance(result, list | tuple):
        return sum(map(_size_bytes, result))
    return 1024
