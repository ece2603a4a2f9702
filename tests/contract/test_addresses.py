"""Only servers on this machine are permitted, unless remote ones are allowed explicitly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.addresses import validate_address
from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind


@pytest.mark.parametrize("address", ["127.0.0.1:50071", "localhost:1", "127.8.9.10:65535", "[::1]:50071"])
def test_loopback_is_permitted(address: str) -> None:
    assert validate_address(address) == address


@pytest.mark.parametrize(
    "address", ["192.168.0.2:50071", "example.org:50071", "0.0.0.0:50071", "127.0.0.1.example.org:1", "[2001:db8::1]:1"]
)
def test_other_machines_must_be_allowed(address: str) -> None:
    with pytest.raises(ProblemError) as raised:
        RewasClient(address)
    assert raised.value.kind is ProblemKind.PERMISSION
    assert validate_address(address, allow_remote=True) == address


@pytest.mark.parametrize("address", ["", "127.0.0.1", ":50071", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http"])
def test_malformed_addresses_are_refused(address: str) -> None:
    with pytest.raises(ProblemError) as raised:
        validate_address(address)
    assert raised.value.kind is ProblemKind.SETTINGS


@given(st.text())
def test_any_text_is_a_loopback_address_or_refused(address: str) -> None:
    try:
        host = validate_address(address).rpartition(":")[0]
    except ProblemError:
        return
    assert host.lower() == "localhost" or host.startswith(("127.", "[::1", "[::ffff:127.", "[0"))
