"""A cache of results, keyed by the content that they were computed from."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache

DEFAULT_CACHE_BYTES = 64 * 1024**2


class ContentCache:
    """A least-recently-used cache of results, keyed by content: text, numbers and arrays.

    Attributes:
        hits: Number of results found in the cache.
        misses: Number of results that had to be computed.
    """

    def __init__(self, limit_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        """limit_bytes: Limit for the size of all results. A result above it is not kept; 0 keeps nothing."""
        self._results: LRUCache[str, Any] = LRUCache(limit_bytes, getsizeof=_size_bytes)
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def get_or_compute(self, kind: str, content: Any, compute: Callable[[], Any]) -> Any:
        """Return the cached result for some content, or compute it.

        Args:
            kind: What is computed. Results of different kinds from the same content are kept apart.
            content: Text, numbers, arrays, None, or sequences of these.
            compute: Function that computes the result. It is called without the lock of the cache.

        Returns:
            The result, which may be shared: do not change it.
        """
        key = content_key((kind, content))
        with self._lock:
            if key in self._results:
                self.hits += 1
                return self._results[key]
            self.misses += 1
        result = compute()
        with self._lock:
            if _size_bytes(result) <= self._results.maxsize:
                self._results[key] = result
        return result

    def clear(self) -> None:
        """Remove all results."""
        with self._lock:
            self._results.clear()

    @property
    def size_bytes(self) -> int:
        """Size of all results in the cache."""
        return int(self._results.currsize)


def content_key(content: Any) -> str:
    """Hash content so that equal values have equal keys, whether they are arrays or tensors.

    Raises:
        TypeError: The content holds something other than text, numbers, arrays, None and sequences of these.
    """
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
        text = repr(content).encode()
        digest.update(f"{type(content).__name__} {len(text)} ".encode() + text)
    else:
        raise TypeError(f"a {type(content).__name__} cannot be hashed by content")


def _size_bytes(result: Any) -> int:
    if isinstance(result, torch.Tensor | np.ndarray):
        return int(result.nbytes)
    if isinstance(result, list | tuple):
        return sum(map(_size_bytes, result))
    return 1024
