"""Content credentials: a signed C2PA manifest in a delivered file, which states that the sound was generated.

Signing needs a certificate of the user and its private key. Without them, files contain the same statement unsigned, in
XMP. The library c2pa-python is optional.
"""

from __future__ import annotations

import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewas_api.errors import SettingsProblem
from rewas_engine.runtime.atomic_files import atomic_path, flush_to_disk
from rewas_server import __version__
from rewas_server.delivery.metadata import ORIGINATOR, BroadcastMetadata
from rewas_server.delivery.provenance import DIGITAL_SOURCE_TYPES
from rewas_server.delivery.riff import write_wave
from rewas_server.delivery.sample_formats import ENCODINGS, format_chunks

_MIME_TYPE = "audio/wav"
_ACTIONS = "c2pa.actions.v2"
_EXTRA = "c2pa"
_IDENTITY_REMEDY = (
    "Use a valid certificate, followed by those of its issuers, and its private key without a password. The key usage "
    "of the certificate must be digital signature, its extended key usage e-mail protection or document signing."
)


@dataclass(frozen=True)
class SigningIdentity:
    """The identity that signs.

    Attributes:
        certificate_path: PEM file with the certificate of the signer, followed by those of its issuers.
        private_key_path: PEM file with the private key of the certificate, without a password.
        algorithm: "es256", "es384", "es512", "ps256", "ps384", "ps512" or "ed25519".
    """

    certificate_path: Path
    private_key_path: Path
    algorithm: str = "es256"


class ContentSigner:
    """Signs files with one identity. The certificate and the key are read once, before any file is signed.

    Raises ProblemError (SETTINGS) if the library is not installed, or a PEM file cannot be used.
    """

    def __init__(self, identity: SigningIdentity) -> None:
        if importlib.util.find_spec("c2pa") is None:
            raise SettingsProblem(
                "Content credentials need the package c2pa-python, which is not installed.",
                f'Run: pip install "rewas-nle[{_EXTRA}]"',
            )
        import c2pa

        chain = _read_pem(identity.certificate_path, "certificate")
        key = _read_pem(identity.private_key_path, "private key")
        names = f"{identity.certificate_path.name} and {identity.private_key_path.name}"
        try:
            self._signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(identity.algorithm, chain, key, None))
            # Many certificates are refused only when they sign.
            c2pa.Builder(_manifest(None)).sign(self._signer, _MIME_TYPE, io.BytesIO(_shortest_wave()), io.BytesIO())
        except (c2pa.C2paError, TypeError, ValueError) as error:
            raise SettingsProblem(
                f"{names} cannot sign files with {identity.algorithm} ({_reason(error)}).", _IDENTITY_REMEDY
            ) from error

    def sign(self, path: Path, metadata: BroadcastMetadata) -> None:
        """Add a signed manifest to a WAV file, atomically.

        Raises OSError if the file cannot be written, and ProblemError (SETTINGS) if it cannot be signed.
        """
        import c2pa

        with path.open("rb") as source:
            if source.read(4) != b"RIFF":
                raise SettingsProblem(
                    f"{path.name} is larger than 4 GiB, and files of this size cannot be signed.",
                    "Deliver it without content credentials, or split the clip.",
                )
            source.seek(0)
            with atomic_path(path) as unfinished, unfinished.open("x+b") as signed:
                try:
                    c2pa.Builder(_manifest(metadata)).sign(self._signer, _MIME_TYPE, source, signed)
                except c2pa.C2paError as error:
                    raise SettingsProblem(
                        f"{path.name} cannot be signed ({_reason(error)}).", _IDENTITY_REMEDY
                    ) from error
                flush_to_disk(signed)


def _manifest(metadata: BroadcastMetadata | None) -> dict[str, Any]:
    """Return the manifest to sign. Without metadata, it is only good for a trial signature."""
    manifest: dict[str, Any] = {
        "claim_generator_info": [{"name": ORIGINATOR, "version": __version__}],
        "format": _MIME_TYPE,
    }
    if metadata is None:
        action = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPES["model"]}
        return manifest | {"assertions": [{"label": _ACTIONS, "data": {"actions": [action]}}]}
    provenance = metadata.provenance
    created = {
        "action": "c2pa.created",
        "digitalSourceType": provenance.digital_source_type,
        "softwareAgent": {"name": provenance.pack_name, "version": provenance.pack_version},
        "when": metadata.creation_time().isoformat(timespec="seconds"),
    }
    rights = {
        "@context": {
            "dc": "http://purl.org/dc/elements/1.1/",
            "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
            "photoshop": "http://ns.adobe.com/photoshop/1.0/",
            "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        },
        "dc:rights": provenance.licence,
        "xmpRights:UsageTerms": provenance.permitted_use,
        "photoshop:Credit": "; ".join(filter(None, (metadata.credits, provenance.credits))),
        "Iptc4xmpExt:DigitalSourceType": provenance.digital_source_type,
    }
    if provenance.origin != "recordings":
        rights |= {
            "Iptc4xmpExt:AIPromptInformation": provenance.prompt,
            "Iptc4xmpExt:AISystemUsed": provenance.pack_name,
            "Iptc4xmpExt:AISystemVersionUsed": provenance.pack_version,
        }
    return manifest | {
        "title": metadata.title,
        "assertions": [
            {"label": _ACTIONS, "data": {"actions": [created]}},
            {"label": "cawg.metadata", "data": {name: value for name, value in rights.items() if value}},
        ],
    }


def _shortest_wave() -> bytes:
    """Return a WAV file with one sample."""
    file = io.BytesIO()
    chunks = format_chunks(ENCODINGS["pcm_16"], channels=1, sample_rate_hz=48_000, frames=1)
    write_wave(file, chunks, [b"\0\0"], data_bytes=2, frames=1)
    return file.getvalue()


def _read_pem(path: Path, what: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsProblem(
            f"The {what} {path} cannot be read ({error.strerror}).", "Check the path in the delivery profile."
        ) from error
    if b"-----BEGIN" not in content or b"\0" in content:
        raise SettingsProblem(f"The {what} {path} is not a PEM file.", "Convert it to PEM, for example with openssl.")
    return content


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")
