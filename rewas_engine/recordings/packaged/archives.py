"""Read a file in an archive of any format that packages of sounds use."""

from __future__ import annotations

from rewas_engine.recordings.packaged import c4group, gresources, qt_resources, soundfonts


def read_archive(data: bytes) -> dict[str, bytes] | None:
    """Return the files in an archive by path. None means that the data are no archive of a known format.

    Raises:
        ValueError: The archive is damaged.
    """
    if data.startswith(c4group.MAGIC):
        return c4group.read_c4group(data)
    if data.startswith(qt_resources.MAGIC):
        return qt_resources.read_qt_resources(data)
    if data.startswith(gresources.MAGIC):
        return gresources.read_gresources(data)
    if data.startswith(soundfonts.MAGIC) and data[8:12] == soundfonts.FORM:
        return soundfonts.read_soundfont(data)
    return None
