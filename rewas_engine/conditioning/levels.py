"""Levels of waveforms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def normalise(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the offset of a waveform and scale its peak to 0.5, as for training. Silence stays silence."""
    centred = np.asarray(waveform - waveform.mean(), np.float32)
    # In place, since an hour of sound is large.
    centred /= max(centred.max(), -centred.min()) + 1e-8
    centred *= 0.5
    return centred
