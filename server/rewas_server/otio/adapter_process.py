"""The process that reads a timeline file with an adapter of OpenTimelineIO.

    python -m rewas_server.otio.adapter_process

Adapters have no limits, and hostile files crash them. This process has limits of memory and may not write files. It
reads one question from standard input, and answers with a line of JSON and the file's content as OTIO JSON.
"""

from __future__ import annotations

import json
import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.sax import SAXException
from xml.sax.handler import ContentHandler

import opentimelineio as otio

from rewas_api.errors import ProblemError, TimelineProblem
from rewas_engine.media.isolation.process_limits import limit_this_process
from rewas_engine.media.limits import DecodingLimits
from rewas_server.otio.clips import timelines_in
from rewas_server.otio.edl_reading import read_edl
from rewas_server.otio.fcp_xml_reading import read_fcp_xml
from rewas_server.otio.fcpxml_reading import read_fcpxml
from rewas_server.otio.kdenlive_reading import read_kdenlive
from rewas_server.otio.names import shorten_name

_MAX_XML_DEPTH = 500
_XML_SUFFIXES = frozenset({".xml", ".fcpxml", ".kdenlive", ".xges"})
_OPEN_FILES = 64


def read_file(path: Path, suffix: str, rate: Fraction | None) -> tuple[Any, list[str]]:
    """Return what a file contains, and notes on how it was read. Raises ProblemError, or what an adapter raises."""
    if suffix == ".edl":
        return read_edl(_decode(path.read_bytes()), path.name, rate)
    if suffix in _XML_SUFFIXES:
        _check_xml(path)
    if suffix == ".xml":
        return read_fcp_xml(path.read_bytes(), path.name)
    if suffix == ".fcpxml":
        return read_fcpxml(path), []
    if suffix == ".kdenlive":
        return read_kdenlive(path.read_bytes(), path.name), []
    if suffix == ".ale":
        return otio.adapters.read_from_file(str(path), **({} if rate is None else {"fps": float(rate)})), []
    found = otio.adapters.read_from_file(str(path))
    if suffix == ".aaf":
        _name_time_effects(found)
    return found, []


def _name_time_effects(found: Any) -> None:
    """Name variable speeds as their program does, for the error message. The AAF adapter calls them unknown."""
    for timeline in timelines_in(found):
        for item in timeline.tracks.find_children():
            for effect in item.effects if isinstance(item, otio.core.Item) else ():
                if type(effect) is otio.schema.TimeEffect:
                    effect.effect_name = effect.name or effect.effect_name


def _decode(content: bytes) -> str:
    """Return the text of a file, which may be in an encoding that old tools use."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


class _Depth(ContentHandler):
    """Ends the parsing of XML that is nested too deeply."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._depth = 0

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802
        self._depth += 1
        if self._depth > _MAX_XML_DEPTH:
            raise TimelineProblem(f"{self._name} is nested too deeply.", "Export it again; the file may be damaged.")

    def endElement(self, name: str) -> None:  # noqa: N802
        self._depth -= 1


def _check_xml(path: Path) -> None:
    """Refuse XML that defines entities or is nested too deeply. Raises ProblemError."""
    from defusedxml import DefusedXmlException, sax

    try:
        with path.open("rb") as file:
            sax.parse(file, _Depth(path.name), forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise TimelineProblem(
            f"{path.name} defines XML entities, which timelines do not need and attackers use.",
            "Export it again from its program.",
        ) from error
    except SAXException as error:
        raise TimelineProblem(
            f"{path.name} is not well-formed XML ({shorten_name(str(error).partition(': ')[2] or str(error))}).",
            "Copy or export it again; the file may be damaged.",
        ) from error


def _answer(question: dict[str, Any]) -> tuple[dict[str, Any], str]:
    path = Path(question["path"])
    rate = None if question["rate"] is None else Fraction(question["rate"])
    try:
        found, notes = read_file(path, question["suffix"], rate)
        return {"problem": None, "notes": notes}, found.to_json_string(indent=-1)
    except ProblemError as problem:
        what = problem
    except MemoryError:
        what = TimelineProblem(f"{path.name} needs too much memory.", "Split the timeline, or export it as .otio.")
    except RecursionError:
        what = TimelineProblem(f"{path.name} is nested too deeply.", "Export it again, if possible as .otio.")
    except Exception as error:  # Adapters raise all kinds of exceptions.
        reason = shorten_name(f"{type(error).__name__}: {error}".strip(": ").replace("\n", " "))
        what = TimelineProblem(
            f"The timeline {path.name} cannot be read ({reason}).", "Export it again, if possible as .otio."
        )
    return {"problem": (what.what, what.remedy), "notes": []}, ""


def main() -> None:
    """Answer one question."""
    question = json.load(sys.stdin)
    # What adapters print must not reach the parent.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    limits = DecodingLimits(memory_bytes=question["memory_bytes"], open_files=_OPEN_FILES)
    # Adapters are loaded before the limits, which forbid nothing that reading needs.
    otio.plugins.ActiveManifest()
    limit_this_process(limits, question["parent_pid"])
    header, content = _answer(question)
    output.write(json.dumps(header).encode() + b"\n" + content.encode())
    output.flush()
    # Exit handlers and destructors of deep structures may crash after the answer.
    os._exit(0)


if __name__ == "__main__":
    main()
