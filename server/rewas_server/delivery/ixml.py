"""The iXML chunk: the contents of `bext` in UTF-8, and the timecode rate."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from rewas_engine.recordings.credits import UsedRecording
from rewas_engine.recordings.metadata import read_ixml
from rewas_server.delivery.bext import VERSION, BextFields
from rewas_server.delivery.loudness import LoudnessFigures
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.sample_formats import Encoding
from rewas_server.delivery.text_fields import add_element

_IXML_VERSION = "3.01"
_RECORDING_FIELDS = ("NAME", "WORDS", "LICENCE", "CREDIT", "SHA256")
"""Elements that describe a recording, in the order of the fields of `UsedRecording`."""


def ixml_chunk(
    metadata: BroadcastMetadata, fields: BextFields, encoding: Encoding, channels: int, sample_rate_hz: int
) -> bytes:
    """Return the content of the chunk."""
    root = ET.Element("BWFXML")
    add_element(root, "IXML_VERSION", _IXML_VERSION)
    add_element(root, "PROJECT", metadata.project)
    add_element(root, "SCENE", metadata.scene)
    add_element(root, "TAKE", metadata.take)
    add_element(root, "TAPE", metadata.tape)
    add_element(root, "NOTE", metadata.note or metadata.provenance.sentence())
    add_element(root, "FILE_UID", fields.originator_reference)
    _add_speed(root, metadata, encoding, sample_rate_hz)
    _add_loudness(root, fields.loudness)
    _add_tracks(root, metadata, channels)
    _add_bext(root, fields)
    _add_provenance(root, metadata)
    return bytes(ET.tostring(root, "UTF-8", xml_declaration=True))


def _add_speed(root: ET.Element, metadata: BroadcastMetadata, encoding: Encoding, sample_rate_hz: int) -> None:
    speed = ET.SubElement(root, "SPEED")
    timecode = metadata.timecode_rate
    # A wrong rate makes some editors play the sound at another speed, so an unknown rate is left out.
    if timecode is not None:
        rate = f"{timecode.frame_rate.numerator}/{timecode.frame_rate.denominator}"
        add_element(speed, "MASTER_SPEED", rate)
        add_element(speed, "CURRENT_SPEED", rate)
        add_element(speed, "TIMECODE_RATE", rate)
        add_element(speed, "TIMECODE_FLAG", "DF" if timecode.is_drop_frame else "NDF")
    high, low = divmod(metadata.time_reference_samples, 2**32)
    add_element(speed, "FILE_SAMPLE_RATE", str(sample_rate_hz))
    add_element(speed, "AUDIO_BIT_DEPTH", str(encoding.bits))
    add_element(speed, "DIGITIZER_SAMPLE_RATE", str(sample_rate_hz))
    add_element(speed, "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI", str(high))
    add_element(speed, "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO", str(low))
    add_element(speed, "TIMESTAMP_SAMPLE_RATE", str(sample_rate_hz))


def _add_loudness(root: ET.Element, figures: LoudnessFigures) -> None:
    known = {
        "LOUDNESS_VALUE": figures.integrated_lufs,
        "LOUDNESS_RANGE": figures.range_lu,
        "MAX_TRUE_PEAK_LEVEL": figures.max_true_peak_dbtp,
        "MAX_MOMENTARY_LOUDNESS": figures.max_momentary_lufs,
        "MAX_SHORT_TERM_LOUDNESS": figures.max_short_term_lufs,
    }
    if any(figure is not None for figure in known.values()):
        loudness = ET.SubElement(root, "LOUDNESS")
        for name, figure in known.items():
            add_element(loudness, name, "" if figure is None else f"{figure:.2f}")


def _add_tracks(root: ET.Element, metadata: BroadcastMetadata, channels: int) -> None:
    tracks = ET.SubElement(root, "TRACK_LIST")
    add_element(tracks, "TRACK_COUNT", str(channels))
    for channel in range(channels):
        track = ET.SubElement(tracks, "TRACK")
        add_element(track, "CHANNEL_INDEX", str(channel + 1))
        add_element(track, "INTERLEAVE_INDEX", str(channel + 1))
        if channel < len(metadata.track_names):
            add_element(track, "NAME", metadata.track_names[channel])


def _add_bext(root: ET.Element, fields: BextFields) -> None:
    bext = ET.SubElement(root, "BEXT")
    high, low = divmod(fields.time_reference_samples, 2**32)
    add_element(bext, "BWF_DESCRIPTION", fields.description)
    add_element(bext, "BWF_ORIGINATOR", fields.originator)
    add_element(bext, "BWF_ORIGINATOR_REFERENCE", fields.originator_reference)
    add_element(bext, "BWF_ORIGINATION_DATE", fields.origination_date)
    add_element(bext, "BWF_ORIGINATION_TIME", fields.origination_time)
    add_element(bext, "BWF_TIME_REFERENCE_LOW", str(low))
    add_element(bext, "BWF_TIME_REFERENCE_HIGH", str(high))
    add_element(bext, "BWF_VERSION", str(VERSION))
    add_element(bext, "BWF_CODING_HISTORY", fields.coding_history.replace("\r\n", "\n"))


def recordings_in_file(path: Path) -> tuple[UsedRecording, ...]:
    """Return the recordings that the iXML of a delivered stem names; none if it has no iXML.

    Raises OSError if the file cannot be read.
    """
    root = read_ixml(path)
    if root is None:
        return ()
    return tuple(
        UsedRecording(*(found.findtext(field, "") for field in _RECORDING_FIELDS))
        for found in root.findall("REWAS/RECORDING")
    )


def _add_provenance(root: ET.Element, metadata: BroadcastMetadata) -> None:
    """Add what iXML has no field for. Readers skip elements that they do not know."""
    provenance, own = metadata.provenance, ET.SubElement(root, "REWAS")
    add_element(own, "DIGITAL_SOURCE_TYPE", provenance.digital_source_type)
    add_element(own, "CLIP", metadata.title)
    add_element(own, "PROMPT", provenance.prompt)
    add_element(own, "SEED", str(provenance.seed))
    add_element(own, "PACK", provenance.pack_name)
    add_element(own, "PACK_VERSION", provenance.pack_version)
    add_element(own, "LICENCE", provenance.licence)
    add_element(own, "PERMITTED_USE", provenance.permitted_use)
    add_element(own, "LIKE", provenance.reference)
    add_element(own, "CREDITS", metadata.credits)
    for recording in provenance.recordings:
        element = ET.SubElement(own, "RECORDING")
        texts = (recording.name, recording.words, recording.licence, recording.credit, recording.content_sha256)
        for field, text in zip(_RECORDING_FIELDS, texts, strict=True):
            add_element(element, field, text)
