"""The generated code matches the contract, and every part of the contract is documented."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from rewas_api.v1 import rewas_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTOC_PYTHON = ROOT / ".venv-protoc" / "bin" / "python"
FIELD, NESTED, ENUM, VALUE, SERVICE, METHOD = 2, 3, 5, 2, 6, 2


def run_tool(*arguments: str | Path) -> None:
    assert PROTOC_PYTHON.exists(), "make test creates .venv-protoc, which has the pinned grpcio-tools"
    completed = subprocess.run([PROTOC_PYTHON, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> descriptor_pb2.FileDescriptorProto:
    path = tmp_path_factory.mktemp("contract") / "contract.bin"
    run_tool("-m", "grpc_tools.protoc", "-Iproto", "--include_source_info", f"-o{path}", "rewas/v1/rewas.proto")
    return descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file[0]


def documented_elements(contract: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Source-info path and name of every element that needs a comment."""
    for m, message in enumerate(contract.message_type):
        if not message.options.map_entry:
            yield (4, m), message.name
            for f, field in enumerate(message.field):
                yield (4, m, FIELD, f), f"{message.name}.{field.name}"
    for e, enum in enumerate(contract.enum_type):
        yield (ENUM, e), enum.name
        for v, value in enumerate(enum.value):
            yield (ENUM, e, VALUE, v), value.name
    for s, service in enumerate(contract.service):
        yield (SERVICE, s), service.name
        for c, call in enumerate(service.method):
            yield (SERVICE, s, METHOD, c), f"{service.name}.{call.name}"


def test_committed_code_is_what_the_pinned_tools_generate(tmp_path: Path) -> None:
    run_tool(ROOT / "scripts" / "dev" / "generate_contract.py", "--output", tmp_path)
    committed = ROOT / "proto" / "rewas_api" / "v1"
    generated_files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed_files = {path.name: path.read_text() for path in committed.iterdir() if path.is_file()}
    assert generated_files == committed_files, (
        "run scripts/dev/generate_contract.py with .venv-protoc/bin/python and commit"
    )


def test_every_element_of_the_contract_has_a_comment(contract: descriptor_pb2.FileDescriptorProto) -> None:
    explained = {
        tuple(location.path) for location in contract.source_code_info.location if location.leading_comments.strip()
    }
    parts = list(documented_elements(contract))
    assert len(parts) > 150
    assert [name for path, name in parts if path not in explained] == []


def test_numbers_state_their_unit_in_name_or_comment(contract: descriptor_pb2.FileDescriptorProto) -> None:
    comments = {tuple(place.path): place.leading_comments for place in contract.source_code_info.location}
    units = {"_s": "second", "_hz": "per second|hertz", "_bytes": "byte", "_ms": "millisecond", "_nats": "nat"}
    for path, name in documented_elements(contract):
        for suffix, words in units.items():
            if len(path) == 4 and path[0] == 4 and name.endswith(suffix):
                assert any(word in comments[path].lower() for word in words.split("|")), name


def test_field_and_value_numbers_have_no_gaps(contract: descriptor_pb2.FileDescriptorProto) -> None:
    """Fields count from 1 and enum values from 0, in the order in which they are written.

    The members of a oneof are written together, also those that were added later.
    """
    for message in contract.message_type:
        assert sorted(field.number for field in message.field) == list(range(1, len(message.field) + 1)), message.name
        groups: dict[int, list[int]] = {}
        for field in message.field:
            is_member = field.HasField("oneof_index") and not field.proto3_optional
            groups.setdefault(field.oneof_index if is_member else -1, []).append(field.number)
        assert all(numbers == sorted(numbers) for numbers in groups.values()), message.name
        assert not message.reserved_range, message.name
    for enum in contract.enum_type:
        assert [value.number for value in enum.value] == list(range(len(enum.value))), enum.name


def test_lists_are_paged(contract: descriptor_pb2.FileDescriptorProto) -> None:
    messages = {message.name: {field.name for field in message.field} for message in contract.message_type}
    lists = [call.name for call in contract.service[0].method if call.name.startswith("List")]
    assert lists == ["ListPacks", "ListJobs"]
    for name in lists:
        assert {"page_size", "page_token"} <= messages[f"{name}Request"]
        assert "next_page_token" in messages[f"{name}Response"]


def test_version_fields_keep_their_numbers() -> None:
    """A client of another contract version reads these fields to detect the mismatch."""
    request, response = rewas_pb2.GetServerInfoRequest.DESCRIPTOR, rewas_pb2.GetServerInfoResponse.DESCRIPTOR
    assert request.fields_by_name["contract_version"].number == 1
    assert response.fields_by_name["version"].number == 1
    assert response.fields_by_name["contract_version"].number == 2


def test_enums_start_unspecified(contract: descriptor_pb2.FileDescriptorProto) -> None:
    for enum in contract.enum_type:
        assert enum.value[0].number == 0
        assert enum.value[0].name.endswith("_UNSPECIFIED")
