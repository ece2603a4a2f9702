"""Interface of the painters. Each draws a random look once per clip, and then paints frames at given times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.drawing import Canvas
from rewas_engine.world.motion import Drive, Strikes

FloatArray = NDArray[np.floating[Any]]
Paint = Callable[[Canvas, FloatArray], None]
StruckPainter = Callable[[np.random.Generator, Strikes], Paint]
SustainedPainter = Callable[[np.random.Generator, Drive], Paint]
