"""Writes the cue sheet and the reports of a delivery."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from rewas_engine.runtime.atomic_files import atomic_path, flush_to_disk
from rewas_server.delivery.credits import update_credits
from rewas_server.delivery.cue_sheet import cue_sheet, report_table
from rewas_server.delivery.deliver import Delivery
from rewas_server.delivery.delivery_record import DeliveredFile, DeliveryRecord
from rewas_server.delivery.delivery_report import report_page
from rewas_server.delivery.file_names import numbered_names, safe_file_name
from rewas_server.delivery.loudness import LoudnessFigures
from rewas_server.delivery.metadata import SOFTWARE
from rewas_server.delivery.profiles import Profile
from rewas_server.delivery.stem_names import name_key
from rewas_server.delivery.stems import MissingSound, TimelineFacts


def write_documents(
    delivery: Delivery,
    profile: Profile,
    facts: TimelineFacts,
    folder: Path,
    missing: Sequence[MissingSound] = (),
) -> list[Path]:
    """Write the documents that the profile selects to the folder of the stems, and return their paths.

    If stems contain recordings, their credits are also written, whatever the profile selects.

    A document that has not changed is not written again. One that somebody has edited is kept.

    missing: clips without a sound. Raises OSError.
    """
    # Spreadsheets recognise UTF-8 by its byte order mark.
    documents: list[tuple[bool, str, Callable[[], bytes]]] = [
        (profile.reports.cue_sheet, "cue sheet.csv", lambda: cue_sheet(delivery.stems, facts).encode("utf-8-sig")),
        (profile.reports.csv, "report.csv", lambda: report_table(delivery.stems, facts, missing).encode("utf-8-sig")),
        (profile.reports.html, "report.html", lambda: report_page(delivery, profile, facts, missing).encode()),
    ]
    selected = [(title, content) for wanted, title, content in documents if wanted]
    folder = folder.absolute()
    recordings = {each.path.name: each.placed.provenance.recordings for each in delivery.stems}
    credits_file = update_credits(folder, recordings)
    written = [] if credits_file is None or not any(recordings.values()) else [credits_file]
    if not selected:
        return written
    key = _key(delivery, profile, facts, missing)
    with DeliveryRecord(folder) as record:
        return written + [
            _write(record, folder, f"{safe_file_name(facts.name)} {title}", facts, key, content)
            for title, content in selected
        ]


def _key(delivery: Delivery, profile: Profile, facts: TimelineFacts, missing: Sequence[MissingSound]) -> str:
    stems = [(each.path.name, each.sha256, each.placed, each.stem.model_rate_hz) for each in delivery.stems]
    return hashlib.sha256(repr((SOFTWARE, stems, delivery.notes, profile, facts, missing)).encode()).hexdigest()


def _write(
    record: DeliveryRecord, folder: Path, name: str, facts: TimelineFacts, key: str, content: Callable[[], bytes]
) -> Path:
    # Under another owner than the stems, so that the next delivery does not take documents for stale stems.
    owner = f"documents of {facts.identity or facts.name}"
    earlier = record.find(owner, name_key(name))
    if earlier is not None and earlier.key == key and record.is_unchanged(earlier):
        return folder / earlier.name
    if earlier is not None and record.is_ours(earlier):
        path = folder / earlier.name
    else:
        candidates = (folder / f"{each}{Path(name).suffix}" for each in numbered_names(Path(name).stem))
        path = next(path for path in candidates if not path.exists())
    data = content()
    with atomic_path(path) as unfinished:
        with unfinished.open("xb") as file:
            file.write(data)
            flush_to_disk(file)
        stat = unfinished.stat()
        record.add(
            DeliveredFile(
                timeline=owner,
                wanted=name_key(name),
                name=path.name,
                key=key,
                sha256=hashlib.sha256(data).hexdigest(),
                earlier_sha256=earlier.sha256 if earlier is not None and earlier.name == path.name else "",
                size_bytes=stat.st_size,
                modified_ns=stat.st_mtime_ns,
                gain_db=0.0,
                loudness=LoudnessFigures(),
            )
        )
    return path
