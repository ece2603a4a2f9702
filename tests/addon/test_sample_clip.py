"""The sample clip of the extension is what its script renders, in a small file."""

import importlib.util
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from rewas_nle.timeline.sample import SAMPLE_FPS, SAMPLE_FRAMES, SAMPLE_NAME

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "addon" / "rewas_nle" / "sample" / SAMPLE_NAME
LARGEST_BYTES = 300_000


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample_clip", ROOT / "scripts" / "dev" / "make_sample_clip.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_clip_is_the_one_that_its_script_renders(script: ModuleType) -> None:
    assert SAMPLE.stat().st_size < LARGEST_BYTES
    with av.open(str(SAMPLE)) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        assert (stream.average_rate, len(frames)) == (SAMPLE_FPS, SAMPLE_FRAMES)
        assert not container.streams.audio
    rendered = script.render_frames()
    assert rendered.shape == frames.shape
    # Compression changes values a little; another scene would differ by more than 20.
    assert np.abs(rendered.astype(np.int16) - frames).mean() < 4
