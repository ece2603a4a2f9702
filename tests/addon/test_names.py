"""Names of strips and files: short enough for Blender, safe on every file system, and unique."""

import re

from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.names import MAX_STRIP_NAME_BYTES, sound_file_name, sound_strip_name, unique_name


@given(st.text(max_size=300))
def test_strip_names_fit_and_keep_the_role(clip_name: str) -> None:
    name = sound_strip_name(clip_name.encode(errors="ignore").decode(), "ambience")
    assert len(name.encode()) <= MAX_STRIP_NAME_BYTES
    assert name.endswith(" ambience")


@given(st.text(max_size=300), st.text(max_size=40))
def test_file_names_are_safe_on_every_file_system(clip_name: str, job_id: str) -> None:
    assert re.fullmatch(
        r"[A-Za-z0-9-]{1,60}_primary_take2_[A-Za-z0-9-]{1,8}\.wav", sound_file_name(clip_name, "primary", 2, job_id)
    )


def test_file_names_stay_readable() -> None:
    assert sound_file_name("Küche Szene 12.mov", "primary", 1, "3f9c2a1b77") == (
        "Kuche-Szene-12-mov_primary_take1_3f9c2a1b.wav"
    )


@given(st.integers(0, 30))
def test_unique_name_never_returns_a_taken_name(taken_count: int) -> None:
    taken: set[str] = set()
    for _ in range(taken_count):
        name = unique_name("a.wav", taken.__contains__)
        assert name not in taken
        taken.add(name)
