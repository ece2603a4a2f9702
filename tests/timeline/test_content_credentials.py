"""C2PA manifests are signed with a certificate that the test has created, and read back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import c2pa
import numpy as np
import pytest
import soundfile
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from wavinfo import WavInfoReader

from rewas_api.errors import ProblemError
from rewas_server.delivery.broadcast_wav import write_broadcast_wav
from rewas_server.delivery.content_credentials import ContentSigner, SigningIdentity
from rewas_server.delivery.deliver import deliver_stems, open_signer
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.profiles import load_profile
from rewas_server.delivery.provenance import DIGITAL_SOURCE_TYPES, Provenance
from rewas_server.delivery.stems import GeneratedStem, TimelineFacts

METADATA = BroadcastMetadata(
    Provenance("собака growling", 7, "starter", "0.1.0", "Apache-2.0", "Free for any use."), title="Щётка 010"
)
WAVEFORM = np.random.default_rng(1).uniform(-0.4, 0.4, (1, 4801)).astype(np.float32)


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, is_root: bool
) -> bytes:
    now = datetime.now(UTC)

    def name(common_name: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A post house"),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )

    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(
            x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(usage, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> SigningIdentity:
    """A signer with a certificate from a root that the test has created."""
    folder = tmp_path_factory.mktemp("identity")
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = certificate("Signer", key, "Root", root_key, False) + certificate("Root", root_key, "Root", root_key, True)
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(private_pem(key))
    return SigningIdentity(folder / "chain.pem", folder / "key.pem")


def write_stem(path: Path, **options: int) -> Path:
    content = io.BytesIO()
    write_broadcast_wav(content, WAVEFORM, 48_000, METADATA, **options)
    path.write_bytes(content.getvalue())
    return path


def read_manifest(path: Path) -> tuple[str, dict[str, object]]:
    reader = c2pa.Reader(path)
    store = json.loads(reader.json())
    return str(reader.get_validation_state()), store["manifests"][store["active_manifest"]]


def test_a_signed_file_states_that_it_was_generated(tmp_path: Path, identity: SigningIdentity) -> None:
    signer = ContentSigner(identity)
    for name in ("first.wav", "second.wav"):
        path = write_stem(tmp_path / name)
        signer.sign(path, METADATA)
        state, manifest = read_manifest(path)
        assert state == "Valid"  # it is not "Trusted", because nobody knows the root
        assertions = {one["label"]: one["data"] for one in manifest["assertions"]}  # type: ignore[attr-defined,index]
        (created,) = assertions["c2pa.actions.v2"]["actions"]
        assert (created["action"], created["digitalSourceType"]) == ("c2pa.created", DIGITAL_SOURCE_TYPES["model"])
        assert created["softwareAgent"] == {"name": "starter", "version": "0.1.0"}
        rights = assertions["cawg.metadata"]
        assert rights["dc:rights"] == "Apache-2.0"
        assert rights["Iptc4xmpExt:AIPromptInformation"] == "собака growling"
        assert manifest["title"] == "Щётка 010"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first.wav", "second.wav"]


def test_a_signature_changes_no_sample_and_no_other_chunk(tmp_path: Path, identity: SigningIdentity) -> None:
    path = write_stem(tmp_path / "stem.wav")
    before = path.read_bytes()
    ContentSigner(identity).sign(path, METADATA)
    signed = path.read_bytes()
    # Only the size of the file in its header differs; the manifest is behind the samples.
    assert signed[8 : len(before)] == before[8:]
    assert int.from_bytes(signed[4:8], "little") == len(signed) - 8
    assert soundfile.info(path).frames == WAVEFORM.shape[1]
    assert WavInfoReader(str(path)).bext.originator == "ReWaS NLE"


def test_a_changed_sample_breaks_the_signature(tmp_path: Path, identity: SigningIdentity) -> None:
    path = write_stem(tmp_path / "stem.wav")
    ContentSigner(identity).sign(path, METADATA)
    content = bytearray(path.read_bytes())
    content[content.index(b"data") + 100] ^= 1
    path.write_bytes(content)
    assert read_manifest(path)[0] == "Invalid"


def test_a_file_beyond_4_gib_is_refused_and_stays(tmp_path: Path, identity: SigningIdentity) -> None:
    path = write_stem(tmp_path / "large.wav", riff_limit_bytes=1000)
    before = path.read_bytes()
    with pytest.raises(ProblemError, match=r"large\.wav is larger than 4 GiB"):
        ContentSigner(identity).sign(path, METADATA)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def break_nothing_there(identity: SigningIdentity, folder: Path) -> SigningIdentity:
    return replace(identity, certificate_path=folder / "missing.pem")


def break_not_pem(identity: SigningIdentity, folder: Path) -> SigningIdentity:
    (folder / "key.der").write_bytes(b"\x30\x82\0")
    return replace(identity, private_key_path=folder / "key.der")


def break_damaged(identity: SigningIdentity, folder: Path) -> SigningIdentity:
    (folder / "bad.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    return replace(identity, private_key_path=folder / "bad.pem")


def break_algorithm(identity: SigningIdentity, _folder: Path) -> SigningIdentity:
    return replace(identity, algorithm="es9000")


def break_other_key(identity: SigningIdentity, folder: Path) -> SigningIdentity:
    (folder / "other.pem").write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    return replace(identity, private_key_path=folder / "other.pem")


def break_root_alone(identity: SigningIdentity, folder: Path) -> SigningIdentity:
    """A certificate that issues others must not sign files."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "root.pem").write_bytes(certificate("Root", key, "Root", key, True))
    (folder / "key.pem").write_bytes(private_pem(key))
    return SigningIdentity(folder / "root.pem", folder / "key.pem")


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (break_nothing_there, r"The certificate .*missing\.pem cannot be read \(No such file or directory\)\."),
        (break_not_pem, r"The private key .*key\.der is not a PEM file\."),
        (break_damaged, r"chain\.pem and bad\.pem cannot sign files with es256 \("),
        (break_other_key, r"chain\.pem and other\.pem cannot sign files with es256 \("),
        (break_root_alone, r"root\.pem and key\.pem cannot sign files with es256 \("),
        (break_algorithm, r"chain\.pem and key\.pem cannot sign files with es9000 \("),
    ],
)
def test_an_identity_that_cannot_sign_is_refused_before_the_work_begins(
    tmp_path: Path,
    identity: SigningIdentity,
    breaking: Callable[[SigningIdentity, Path], SigningIdentity],
    message: str,
) -> None:
    with pytest.raises(ProblemError, match=message):
        ContentSigner(breaking(identity, tmp_path))


def test_a_profile_signs_each_file_with_paths_relative_to_it(identity: SigningIdentity, tmp_path: Path) -> None:
    profile_path = identity.certificate_path.with_name("studio.toml")
    tables = '[content_credentials]\ncertificate = "chain.pem"\nprivate_key = "key.pem"'
    profile_path.write_text(f"schema = 1\n{tables}")
    profile = load_profile(str(profile_path))
    soundfile.write(tmp_path / "generated.wav", WAVEFORM.T, 48_000)
    stem = GeneratedStem(
        tmp_path / "generated.wav",
        sha256="1",
        clip_name="shot",
        clip_number=1,
        role="primary",
        take_number=1,
        position_s=Fraction(0),
        duration_s=Fraction(4801, 48_000),
        provenance=METADATA.provenance,
    )
    for is_first in (True, False):
        (delivered,) = deliver_stems([stem], profile, TimelineFacts("reel"), tmp_path / "stems").stems
        assert delivered.was_written == is_first
    manifest = json.loads(c2pa.Reader("audio/wav", io.BytesIO(delivered.path.read_bytes())).json())
    active = manifest["manifests"][manifest["active_manifest"]]
    assert active["title"] == "shot"
    profile_path.write_text(f"schema = 1\n{tables.replace('key.pem', 'none.pem')}")
    with pytest.raises(ProblemError, match=r"The private key .*none\.pem cannot be read"):
        open_signer(load_profile(str(profile_path)))
