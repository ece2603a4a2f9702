"""A take is completed step by step: each missing range of each stem is a job. The last one brings the whole take."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import soundfile

from rewas_nle.core.completing import (
    complete_takes,
    fit_existing_sound,
    next_step,
    plan_completion,
    remove_fitted_sound,
)
from rewas_nle.core.contract import UserProblemError
from rewas_nle.core.messages import GenerationInfo, ReceivedTake, StemFile, StemsReceived
from rewas_nle.core.received_takes import build_takes
from rewas_nle.core.records import JobRecord
from rewas_nle.core.sound_settings import EnergyChoice, LayerChoice, SoundSettings
from rewas_nle.timeline.strips import Proxy, Refusal, SelectedClip
from rewas_nle.timeline.takes import Stem, Take

RATE = Fraction(24000, 1001)
RATE_HZ = 8000


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """The sound of frames 10 to 30, with a primary stem, an ambience and their mix."""
    samples = round(20 / RATE * RATE_HZ)
    stems = []
    for role in ("primary", "ambience", "mix"):
        path = tmp_path / f"{role}.wav"
        soundfile.write(path, [0.1] * samples, RATE_HZ, "PCM_24")
        stems.append(Stem(role, path, RATE_HZ, 1, samples))
    return Take(
        id="a" * 32,
        scene_rate=RATE,
        lead_in_frames=10,
        frames=20,
        stems=tuple(stems),
        number=3,
        media="/ball.mp4",
        prompt="a ball bounces",
        settings={"layers": [{"name": "ambience", "prompt": "wind"}], "seed": 5},
    )


def clip_of(first: int, last: int) -> SelectedClip:
    return SelectedClip(
        name="ball",
        path="/ball.mp4",
        prompt="something else by now",
        start_frame=first,
        frames=last - first,
        content_start_frame=0,
        rate=RATE,
        source_start_s=first / RATE,
        source_duration_s=(last - first) / RATE,
        media_frames=100,
        media_rate=RATE,
    )


SETTINGS = SoundSettings(
    layers=(LayerChoice("ambience", "wind"),),
    takes=4,
    seed=1,
    loop=True,
    gain_db=-3.0,
    mix=True,
    sample_rate_hz=48000,
    cuts_s=(Fraction(1),),
    energy=EnergyChoice(source="own_sound"),
)


def received(record: JobRecord, number: int, folder: Path) -> JobRecord:
    """What arrives for a step: a sound as long as the clip, under the role that the server knows."""
    samples = round(record.clip.source_duration_s * RATE_HZ)
    stem = StemFile("primary", folder / f"step{number}.wav", RATE_HZ, 1, samples)
    takes = (ReceivedTake(1, 77, (stem,), 0.5, None),)
    info = GenerationInfo("starter", "1", "Apache-2.0", 4, 1.0, 1.0, settings_json='{"prompt": "wind"}')
    return replace(
        record,
        received=StemsReceived(record.key, f"job{number}", info, record.clip.source_duration_s, takes),
        job_id=f"job{number}",
    )


def test_a_layer_is_completed_with_its_own_energy(take: Take, tmp_path: Path) -> None:
    keys = ((0.0, -20.0), (2.0, -40.0))
    for layer, expected in (
        (LayerChoice("ambience", "wind", energy="drawn", keys=keys), EnergyChoice("drawn", keys=keys)),
        (LayerChoice("ambience", "wind", energy="flat", flat_nats=-3.0), EnergyChoice("flat", flat_nats=-3.0)),
        (LayerChoice("ambience", "wind"), EnergyChoice("flat")),
    ):
        planned = plan_completion(take, clip_of(0, 50), replace(SETTINGS, layers=(layer,)))
        assert not isinstance(planned, Refusal)
        record: JobRecord | None = JobRecord("0" * 32, *planned, "Scene", tmp_path)
        energies = {}
        while record is not None:
            record = JobRecord.from_json(record.to_json())
            assert record.settings.regenerate is not None
            assert record.settings.regenerate.completion is not None
            energies[record.settings.regenerate.completion.role] = record.settings.energy
            record = next_step(received(record, len(energies), tmp_path))
        assert energies == {"primary": SETTINGS.energy, "ambience": expected}


def test_each_missing_range_of_each_stem_is_generated(take: Take, tmp_path: Path) -> None:
    planned = plan_completion(take, clip_of(0, 50), SETTINGS)
    assert not isinstance(planned, Refusal)
    clip, settings = planned
    record = JobRecord("0" * 32, clip, settings, "Scene", tmp_path)
    steps = []
    keys = set()
    number = 0
    while record is not None:
        record = JobRecord.from_json(record.to_json())
        number += 1
        existing = record.settings.regenerate
        assert existing is not None
        assert existing.completion is not None
        chosen = record.settings
        assert (chosen.layers, chosen.takes, chosen.seed, chosen.loop, chosen.mix) == ((), 1, None, None, None)
        fit_existing_sound(record)
        sound_s = soundfile.info(existing.sound).duration if existing.completion.source else 50 / RATE
        assert existing.start_s <= sound_s
        steps.append((existing.completion.role, existing.completion.prompt, chosen.energy.source, existing.start_s > 0))
        keys.add(record.key)
        last = received(record, number, tmp_path)
        remove_fitted_sound(last)
        assert not list(tmp_path.glob("*-fitted.wav"))
        following = next_step(last)
        assert following == next_step(last)
        record = following
    assert steps == [
        ("primary", "a ball bounces", "own_sound", True),
        ("primary", "a ball bounces", "own_sound", False),
        ("ambience", "wind", "flat", True),
        ("ambience", "wind", "flat", False),
    ]
    assert len(keys) == 4
    assert last.received is not None
    (complete,) = complete_takes(last, build_takes(last.clip, last.received))
    assert (complete.lead_in_frames, complete.frames, complete.prompt) == (0, 50, "a ball bounces")
    assert [(stem.role, stem.path.name) for stem in complete.stems] == [
        ("primary", "step2.wav"),
        ("ambience", "step4.wav"),
    ]
    assert dict(complete.settings) == dict(take.settings)


@pytest.mark.parametrize(("first", "last", "expected"), [(10, 40, [True]), (4, 30, [False]), (15, 35, [True])])
def test_only_the_missing_side_is_generated(
    take: Take, tmp_path: Path, first: int, last: int, expected: list[bool]
) -> None:
    take = replace(take, stems=take.stems[:1])
    planned = plan_completion(take, clip_of(first, last), SETTINGS)
    assert not isinstance(planned, Refusal)
    existing = planned[1].regenerate
    assert existing is not None
    assert existing.completion is not None
    assert [existing.start_s > 0, *(step.start_s > 0 for step in existing.completion.then)] == expected
    record = JobRecord("0" * 32, *planned, "Scene", tmp_path)
    fit_existing_sound(record)
    samples, _ = soundfile.read(existing.sound)
    # The existing sound is at its frames, and silence is where it is missing.
    offset = round((10 - first) / RATE * RATE_HZ)
    heard = [index for index, value in enumerate(samples) if value]
    assert heard[0] == max(offset, 0)
    assert len(heard) == min(take.stems[0].samples + min(offset, 0), round((last - first) / RATE * RATE_HZ))


def test_a_strip_without_common_frames_gets_a_new_sound(take: Take) -> None:
    planned = plan_completion(take, clip_of(40, 60), SETTINGS)
    assert not isinstance(planned, Refusal)
    assert planned[1] == SETTINGS


@pytest.mark.parametrize("clip", [clip_of(10, 30), clip_of(15, 20), replace(clip_of(0, 50), path="/other.mp4")])
def test_what_cannot_be_completed_is_refused(take: Take, clip: SelectedClip) -> None:
    assert isinstance(plan_completion(take, clip, SETTINGS), Refusal)


def test_a_strip_with_a_proxy_can_be_completed(take: Take) -> None:
    clip = replace(clip_of(0, 50), path="/cache/proxy-of-frames-0-50.mp4", proxy=Proxy("plays backwards", "/ball.mp4"))
    planned = plan_completion(take, clip, SETTINGS)
    assert not isinstance(planned, Refusal)
    assert planned[1].regenerate is not None


def test_a_missing_file_is_reported(take: Take, tmp_path: Path) -> None:
    planned = plan_completion(take, clip_of(0, 50), SETTINGS)
    assert not isinstance(planned, Refusal)
    take.stems[0].path.unlink()
    with pytest.raises(UserProblemError, match=r'"primary\.wav" cannot be used \(No such file'):
        fit_existing_sound(JobRecord("0" * 32, *planned, "Scene", tmp_path))
