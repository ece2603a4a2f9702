"""Decodes requests strictly: what this server does not know is refused, never dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from rewas_api import CONTRACT_MINOR_VERSION, CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2

_ALWAYS_ANSWERED = (rewas_pb2.GetServerInfoRequest,)
"""Requests whose answer shows a newer client that this server is older."""


@dataclass
class Submission:
    """A request of SubmitJob with its bytes: encoding a long request again would keep all other calls waiting."""

    request: rewas_pb2.SubmitJobRequest
    data: bytes


def decode(deserialize: Callable[[bytes], Any], data: bytes) -> Any:
    """Decode a request. Raises ProblemError (SETTINGS) for damaged bytes, and for unknown fields and enum values."""
    try:
        message = deserialize(data)
    except (DecodeError, ValueError) as error:
        raise ProblemError(
            "The bytes of the request are not a message of the contract.",
            "Use a client of the same version of ReWaS NLE.",
            ProblemKind.SETTINGS,
        ) from error
    if not isinstance(message, _ALWAYS_ANSWERED):
        unknown = next(find_unknown(message), None)
        if unknown is not None:
            raise ProblemError(
                f"The request sets {unknown}, which this server does not know.",
                f"Client and server differ in their minor contract version (the server has "
                f"{CONTRACT_VERSION}.{CONTRACT_MINOR_VERSION}): update the server, or leave this setting out.",
                ProblemKind.SETTINGS,
            )
    return message


def find_unknown(message: Message) -> Iterator[str]:
    """Yield each field and enum value, at every depth, that the contract of this server does not have."""
    name = message.DESCRIPTOR.full_name
    unknown = UnknownFieldSet(message)
    for index in range(len(unknown)):
        yield f"field {unknown[index].field_number} of {name}"
    for field, value in _messages_and_enums(message):
        if field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                has_messages = field.message_type.fields_by_name["value"].message_type is not None
                value = value.values() if has_messages else ()
            for each in _values(value):
                yield from find_unknown(each)
        elif field.enum_type is not None:
            for number in _values(value):
                if number not in field.enum_type.values_by_number:
                    yield f"the value {number} of {name}.{field.name}"


def _messages_and_enums(message: Message) -> Iterator[tuple[Any, Any]]:
    # ListFields would copy each text, and a timeline is a long one.
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None and field.enum_type is None:
            continue
        value = getattr(message, field.name)
        if not isinstance(value, Message) or message.HasField(field.name):
            yield field, value


def _values(value: Any) -> Any:
    return (value,) if isinstance(value, Message | int) else value
