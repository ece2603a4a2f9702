"""Captions of scenes: no modifier contradicts the phrase that it follows."""

import re

import numpy as np
import pytest

from rewas_engine.world import ALL_CLASSES
from rewas_engine.world.vocabulary import MODIFIERS, describe

CALM = {"loudness": 0.7, "rate_hz": None, "indoors": False, "pattern": "", "event_count": None, "rising": None}


@pytest.mark.parametrize(("far", "near"), [(True, False), (False, True)])
def test_a_caption_does_not_contradict_itself(far: bool, near: bool) -> None:
    said_far, said_near = re.compile(r"distan(t|ce)"), re.compile(r"close[- ]up|nearby")
    met = set()
    for name in ALL_CLASSES:
        for seed in range(150):
            caption = describe(np.random.default_rng(seed), name, far=far, near=near, **CALM)
            phrase, *modifiers = caption.split(", ")
            met |= set(modifiers)
            if said_far.search(phrase):
                assert not set(modifiers) & set(MODIFIERS["near"]), caption
            if said_near.search(phrase):
                assert not set(modifiers) & set(MODIFIERS["far"]), caption
    assert set(MODIFIERS["far" if far else "near"]) <= met
