"""Names of enum values survive a round trip through the contract, for every enum."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api import enum_names
from rewas_api.enum_names import EnumNames
from rewas_api.v1 import rewas_pb2

EXPECTED = {
    "CONFLICT_POLICY": ("off", "warn", "soften", "refuse"),
    "CONTROL": ("energy", "onsets"),
    "ENERGY_SOURCE": ("video", "audio", "user"),
    "JOB_STATE": ("queued", "running", "succeeded", "failed", "cancelling", "cancelled", "pausing", "paused"),
    "INTERRUPTION_CAUSE": ("worker-ended", "out-of-memory", "deadline", "server-ended"),
    "LAYER_ENERGY": ("steady", "following", "video"),
    "LEVEL": ("standard", "raw"),
    "NOTE_KIND": (
        "little-motion",
        "silent-energy",
        "unknown-prompt",
        "audio-track",
        "retimed-sound",
        "unused-setting",
        "reference",
        "recordings-repeat",
    ),
    "PRIORITY": ("interactive", "normal", "batch"),
    "PROMPT_ORIGIN": ("picture", "sound"),
    "RANK": ("score", "avh"),
    "ROOM": ("in", "out"),
    "SAMPLER": ("ddim", "dpm++", "dpm++-sde", "unipc"),
    "STAGE": ("decode", "energy", "conflict", "sample", "vocode", "deliver", "load", "perform", "describe"),
    "TAIL": ("curve", "natural"),
    "TAKE_FAULT": ("silent", "clipped", "stuck", "wrong"),
    "VERDICT": ("agree", "unsure", "conflict", "unsupported"),
}
ENUMS: dict[str, EnumNames[Any]] = {name: getattr(enum_names, name) for name in EXPECTED}


def test_the_names_are_as_expected() -> None:
    assert {name: names.all for name, names in ENUMS.items()} == EXPECTED
    assert set(enum_names.__all__) == {*EXPECTED, "EnumNames"}


def test_every_enum_of_the_contract_has_names() -> None:
    contract = {name for name in rewas_pb2.DESCRIPTOR.enum_types_by_name if name != "ProblemKind"}
    assert contract == {"".join(word.capitalize() for word in name.split("_")) for name in EXPECTED}


@given(st.sampled_from([(enum, name) for enum, names in EXPECTED.items() for name in names]))
def test_a_name_survives_a_round_trip(case: tuple[str, str]) -> None:
    enum, name = case
    field = {
        "CONFLICT_POLICY": (rewas_pb2.SoundSettings, "conflict_policy"),
        "CONTROL": (rewas_pb2.SoundSettings, "control"),
        "ENERGY_SOURCE": (rewas_pb2.EnergyCurve, "source"),
        "JOB_STATE": (rewas_pb2.Job, "state"),
        "INTERRUPTION_CAUSE": (rewas_pb2.Interruption, "cause"),
        "LAYER_ENERGY": (rewas_pb2.Layer, "energy"),
        "LEVEL": (rewas_pb2.SoundSettings, "level"),
        "NOTE_KIND": (rewas_pb2.Note, "kind"),
        "PRIORITY": (rewas_pb2.SubmitJobRequest, "priority"),
        "PROMPT_ORIGIN": (rewas_pb2.DescriptionPrompt, "origin"),
        "RANK": (rewas_pb2.SoundSettings, "rank_by"),
        "ROOM": (rewas_pb2.Performance, "room"),
        "SAMPLER": (rewas_pb2.SoundSettings, "sampler"),
        "STAGE": (rewas_pb2.Job, "stage"),
        "TAIL": (rewas_pb2.Performance, "tail"),
        "TAKE_FAULT": (rewas_pb2.Take, "faults"),
        "VERDICT": (rewas_pb2.ConflictResult, "verdict"),
    }
    message_type, field_name = field[enum]
    number = ENUMS[enum].to_number(name)
    assert number != 0
    message = message_type(**{field_name: [number] if field_name == "faults" else number})
    received = getattr(message_type.FromString(message.SerializeToString()), field_name)
    assert ENUMS[enum].to_name(received[0] if field_name == "faults" else received) == name


@given(st.sampled_from(sorted(ENUMS)), st.integers(0, 2**31 - 1))
def test_any_number_has_a_name_or_is_unknown(enum: str, number: int) -> None:
    names = ENUMS[enum]
    name = names.to_name(number)
    if number == 0:
        assert name is None
        assert names.to_number(None) == 0
    elif name in names.all:
        assert names.to_number(name) == number
    else:
        assert name == f"unknown ({number})"
        with pytest.raises(KeyError):
            names.to_number(name)
