"""TLS: the certificate of a server that other machines can reach, and a self-signed one to start with."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from rewas_api.addresses import is_loopback
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.config import ServerConfig
from rewas_server.files.private_files import PRIVATE_UMASK, write_private_text

VALIDITY_DAYS = 825
_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True)
class Certificate:
    """A new certificate. fingerprint: its SHA-256, as other programs print it. names: hosts that it is valid for."""

    path: Path
    key_path: Path
    fingerprint: str
    names: tuple[str, ...]


def make_certificate(config: ServerConfig, extra_names: Sequence[str] = ()) -> Certificate:
    """Write a self-signed certificate and its key into the state folder, unless there is one already.

    It is valid for the host of the configuration, the name of this machine, loopback, and `extra_names`.

    Raises:
        ProblemError: SETTINGS if there is a certificate already, or if the cryptography package is missing; RESOURCES
            if the files cannot be written.
    """
    path, key_path = config.default_certificate_path, config.default_private_key_path
    if path.exists() or key_path.exists():
        raise ProblemError(
            f"There is already a certificate: {path}.",
            "Delete certificate.pem and private-key.pem to make a new one. All clients will need the new certificate.",
            ProblemKind.SETTINGS,
        )
    hosts = [config.host.removeprefix("[").removesuffix("]"), socket.gethostname(), *extra_names]
    names = tuple(dict.fromkeys([*(host for host in hosts if host not in _ANY_ADDRESS), "localhost", "127.0.0.1"]))
    certificate, key, digest = _self_signed(names)
    try:
        write_private_text(key_path, key)
        write_private_text(path, certificate)
    except OSError as error:
        raise ProblemError(
            f"The certificate {path} cannot be written ({error.strerror or error}).",
            "Choose another folder with `rewas serve --state-dir`.",
            ProblemKind.RESOURCES,
        ) from error
    return Certificate(path, key_path, ":".join(f"{byte:02X}" for byte in digest), names)


def server_credentials(config: ServerConfig) -> Any | None:
    """Return gRPC's credentials for TLS; None for a server on loopback without a certificate.

    Raises:
        ProblemError: SETTINGS if other machines can reach the host and there is no certificate, or if its files cannot
            be read; ACCESS if the key is open to other users.
    """
    path, key_path = config.certificate, config.private_key
    if path is None and key_path is None and not is_loopback(config.host.removeprefix("[").removesuffix("]")):
        path, key_path = config.default_certificate_path, config.default_private_key_path
        if not path.exists():
            raise ProblemError(
                f"Other machines can reach {config.host}, but the server has no TLS certificate.",
                f"Make one with `rewas serve --host {config.host} --make-cert`, or give yours with --certificate and "
                "--private-key. The server creates its token when it starts.",
                ProblemKind.SETTINGS,
            )
    if path is None and key_path is None:
        return None
    if path is None or key_path is None:
        raise ProblemError(
            "A certificate and its private key are needed together.",
            "Give both --certificate and --private-key.",
            ProblemKind.SETTINGS,
        )
    try:
        if os.name == "posix" and key_path.stat().st_mode & PRIVATE_UMASK:
            raise ProblemError(
                f"The private key {key_path} is open to other users.",
                "Make it private with `chmod 600`.",
                ProblemKind.ACCESS,
            )
        key, chain = key_path.read_bytes(), path.read_bytes()
    except OSError as error:
        raise ProblemError(
            f"The certificate or its key cannot be read ({error.strerror}: {error.filename}).",
            "Check the paths and permissions.",
            ProblemKind.SETTINGS,
        ) from error
    if b"CERTIFICATE" not in chain or b"PRIVATE KEY" not in key:
        raise ProblemError(
            f"{path} or {key_path} is not a file in PEM form.",
            "Give the certificate with --certificate, and its key with --private-key.",
            ProblemKind.SETTINGS,
        )
    return grpc.ssl_server_credentials([(key, chain)])


def _self_signed(names: Sequence[str]) -> tuple[str, str, bytes]:
    """Return a certificate and its key as PEM, and the SHA-256 of the certificate."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise ProblemError(
            "Making a certificate needs the package cryptography.",
            'Install it with `pip install "rewas-nle[tls]"`, or make a certificate with another program.',
            ProblemKind.SETTINGS,
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ReWaS server")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of clients may be behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALIDITY_DAYS))
        .add_extension(x509.SubjectAlternativeName([_alternative_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private_key.decode(), digest


def _alternative_name(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise ProblemError(
            f'"{name}" is not a host name or address.', "Give a name such as studio.local.", ProblemKind.SETTINGS
        ) from error
