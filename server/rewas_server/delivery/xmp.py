"""The XMP packet of a file, in its `_PMX` chunk: provenance and rights in the properties of IPTC and Dublin Core."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from rewas_server.delivery.metadata import SOFTWARE, BroadcastMetadata
from rewas_server.delivery.text_fields import add_element, xml_text

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "rewas": "urn:rewas-nle:provenance:1:",
}
for _prefix, _uri in _NAMESPACES.items():
    ET.register_namespace(_prefix, _uri)
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_PACKET_ID = "W5M0MpCehiHzreSzNTczkc9d"
"""The same in every XMP packet, so that readers can find it."""


def xmp_packet(metadata: BroadcastMetadata, file_id: str) -> bytes:
    """Return the packet in UTF-8. file_id: identifier of the file."""
    provenance = metadata.provenance
    root = ET.Element(_name("x:xmpmeta"))
    about = ET.SubElement(ET.SubElement(root, _name("rdf:RDF")), _name("rdf:Description"), {_name("rdf:about"): ""})
    _add_text(about, "dc:title", metadata.title)
    _add_text(about, "dc:description", provenance.prompt)
    _add_text(about, "dc:rights", provenance.licence)
    _add_text(about, "xmpRights:UsageTerms", provenance.permitted_use)
    plain = {
        "photoshop:Credit": "; ".join(filter(None, (metadata.credits, provenance.credits))),
        "xmp:CreatorTool": SOFTWARE,
        "xmp:CreateDate": metadata.creation_time().isoformat(timespec="seconds"),
        "xmpMM:DocumentID": file_id,
        "Iptc4xmpExt:DigitalSourceType": provenance.digital_source_type,
        "rewas:Seed": str(provenance.seed),
        "rewas:Project": metadata.project,
    }
    if provenance.origin == "recordings":
        plain |= {"rewas:Library": provenance.pack_name, "rewas:LibraryVersion": provenance.pack_version}
    else:
        plain |= {
            "Iptc4xmpExt:AIPromptInformation": provenance.prompt,
            "Iptc4xmpExt:AISystemUsed": provenance.pack_name,
            "Iptc4xmpExt:AISystemVersionUsed": provenance.pack_version,
        }
    for name, text in plain.items():
        add_element(about, _name(name), text)
    _add_list(about, "rewas:Recordings", [recording.credit_line() for recording in provenance.recordings])
    begin = f'<?xpacket begin="\N{ZERO WIDTH NO-BREAK SPACE}" id="{_PACKET_ID}"?>\n'
    return f'{begin}{ET.tostring(root, "unicode")}\n<?xpacket end="r"?>'.encode()


def _name(name: str) -> str:
    prefix, local = name.split(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def _add_list(parent: ET.Element, name: str, texts: Sequence[str]) -> None:
    """Add an ordered list of texts; an empty list adds nothing."""
    if texts:
        items = ET.SubElement(ET.SubElement(parent, _name(name)), _name("rdf:Seq"))
        for text in texts:
            add_element(items, _name("rdf:li"), text)


def _add_text(parent: ET.Element, name: str, text: str) -> None:
    """Add a text with alternatives in other languages, of which there is only the default one."""
    cleaned = xml_text(text)
    if cleaned:
        alternatives = ET.SubElement(ET.SubElement(parent, _name(name)), _name("rdf:Alt"))
        ET.SubElement(alternatives, _name("rdf:li"), {_LANGUAGE: "x-default"}).text = cleaned
