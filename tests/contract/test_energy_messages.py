"""Energy in the contract: EnergyInput is the only input message, and it has one source."""

from rewas_api.v1 import rewas_pb2

CURVE = rewas_pb2.EnergyCurve(rate_hz=rewas_pb2.Rational(numerator=100, denominator=1), values=[-5.0, -4.0])
POINTS = rewas_pb2.EnergyPoints(
    points=[rewas_pb2.EnergyPoint(time_s={"numerator": 1, "denominator": 2}, level_nats=-5)]
)
SOURCES = {"curve": CURVE, "points": POINTS, "flat_nats": 0.0}


def test_an_energy_has_one_source() -> None:
    for name, value in SOURCES.items():
        received = rewas_pb2.EnergyInput.FromString(rewas_pb2.EnergyInput(**{name: value}).SerializeToString())  # type: ignore[arg-type]
        # A constant level of 0 nats is a source too.
        assert received.WhichOneof("source") == name
        assert getattr(received, name) == value
    # If a client writes several sources, the last one counts.
    several = b"".join(
        rewas_pb2.EnergyInput(**{name: value}).SerializeToString()  # type: ignore[arg-type]
        for name, value in SOURCES.items()
    )
    assert rewas_pb2.EnergyInput.FromString(several).WhichOneof("source") == "flat_nats"
    assert rewas_pb2.EnergyInput(edits=["smooth 0.2"]).WhichOneof("source") is None


def test_every_request_takes_energy_as_energy_input() -> None:
    """Requests take a curve, points or a level only in an EnergyInput."""
    energy_input = rewas_pb2.EnergyInput.DESCRIPTOR
    assert rewas_pb2.EnergyWork.DESCRIPTOR.fields_by_name["energy"].message_type is energy_input
    assert rewas_pb2.SoundWork.DESCRIPTOR.fields_by_name["energy"].message_type is energy_input
    layers = rewas_pb2.SoundWork.DESCRIPTOR.fields_by_name["layer_energies"].message_type
    assert layers.fields_by_name["value"].message_type is energy_input
    for work in (rewas_pb2.EnergyWork, rewas_pb2.ConflictWork, rewas_pb2.SoundWork, rewas_pb2.TimelineWork):
        types = {field.message_type.name for field in work.DESCRIPTOR.fields if field.message_type is not None}
        assert not types & {"EnergyCurve", "EnergyPoints"}
