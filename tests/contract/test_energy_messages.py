"""Energies in the contract: one source each, and what was written before other sources came is read as it was."""

import pytest
from google.protobuf.message import Message

from rewas_api.v1 import rewas_pb2

CURVE = rewas_pb2.EnergyCurve(rate_hz=rewas_pb2.Rational(numerator=100, denominator=1), values=[-5.0, -4.0])
POINTS = rewas_pb2.EnergyPoints(points=[rewas_pb2.EnergyPoint(time_s={"numerator": 1, "denominator": 2}, nats=-5)])


@pytest.mark.parametrize(
    ("message", "oneof", "names"),
    [
        (rewas_pb2.EnergyWork, "given", ("curve", "points", "flat_nats")),
        (rewas_pb2.SoundWork, "energy_source", ("energy", "energy_points", "energy_flat_nats")),
        (rewas_pb2.LayerEnergy, "source", ("curve", "points", "flat_nats")),
    ],
)
def test_an_energy_has_one_source(message: type[Message], oneof: str, names: tuple[str, str, str]) -> None:
    values = dict(zip(names, (CURVE, POINTS, 0.0), strict=True))
    for name, value in values.items():
        travelled = message.FromString(message(**{name: value}).SerializeToString())
        # One level of 0 nats is a level too.
        assert travelled.WhichOneof(oneof) == name
        assert getattr(travelled, name) == value
    # Of several that a foreign client writes the last one counts.
    both = b"".join(message(**{name: values[name]}).SerializeToString() for name in names)
    assert message.FromString(both).WhichOneof(oneof) == names[2]
    assert message().WhichOneof(oneof) is None


def test_requests_and_packs_of_before_are_read_as_they_were() -> None:
    """Field 3 of SoundWork was a curve alone, field 101 curves of layers; a job store holds such requests."""
    curve = CURVE.SerializeToString()
    entry = b"\x0a\x04wind\x12" + bytes([len(curve)]) + curve
    written = b"\x1a" + bytes([len(curve)]) + curve + b"\xaa\x06" + bytes([len(entry)]) + entry
    work = rewas_pb2.SoundWork.FromString(written)
    assert work.energy == CURVE
    assert work.layer_energies["wind"] == CURVE
    assert not work.energy_edits
    pack = rewas_pb2.Pack.FromString(b"\x0a\x04tiny")
    assert (pack.name, pack.checks_conflict, pack.scores_words) == ("tiny", False, False)
