"""The speed section times real work, not cached results."""

from pathlib import Path

import pytest
import torch
from pack_fixtures import tiny_model

from rewas_engine import Sampling
from rewas_engine.evaluation.bench import Bench, Watch, bench_clips
from rewas_engine.evaluation.speed import ROUNDS, speed_section
from rewas_engine.evaluation.splits import DEVELOPMENT


def test_each_round_encodes_new_frames_prompt_and_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(tmp_path)
    components, calls = model._components, {"video_encoder": 0, "text_encoder": 0, "codec": 0}
    for name in calls:
        module = components[name]
        method = "encode" if name == "codec" else "forward"
        original = getattr(module, method)

        def counted(*arguments, name: str = name, original=original, **named) -> torch.Tensor:
            calls[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(module, method, counted)
    clip = bench_clips(DEVELOPMENT, ("rain",), 1, model.front_end, Watch())[0]
    before = clip.energy.copy()
    settings = model.sampling_settings(Sampling(num_inference_steps=1, guidance_scale=1.0))
    section = speed_section(Bench(model, None, [clip], settings, Watch()))
    assert all(count >= ROUNDS + 1 for count in calls.values()), calls
    assert {figure.key for figure in section.figures} >= {"take_s", "real_time_factor_picture"}
    assert all(figure.value is not None and figure.value > 0 for figure in section.figures)
    assert (clip.energy == before).all()
