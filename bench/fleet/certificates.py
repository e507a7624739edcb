"""Certificates of a fleet: an authority of its own, and a key pair for each role.

All connections are encrypted, and both ends prove that the authority has signed their certificate.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import UsageError
from bench.fleet.extra import install_first

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, KeyUsage

ROLES = ("scheduler", "worker", "client")
AUTHORITY = "ca"
DAYS = 365
SHOWN = "%d %B %Y"
MAKE = "Make them with `bench fleet certs {}`, and copy to each machine what its role needs."


class Files(NamedTuple):
    """What a role needs: the certificate of the authority, and its own certificate and key."""

    authority: Path
    certificate: Path
    key: Path


def make(folder: Path, days: int = DAYS) -> list[Path]:
    """Write an authority and a key pair for each role into a new folder; return the files.

    The key of the authority is not kept: nobody can sign another certificate with it. Keys are
    readable for their owner alone. Raises UsageError if a file is there already, or cannot be
    written.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise install_first() from None
    files = files_of(folder, *ROLES)
    if there := next((path for path in files if path.exists()), None):
        raise UsageError(f"{there} is there already", "Name a new folder, or remove the old one.")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _signed(AUTHORITY, authority_key, None, authority_key, days)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(folder / f"{AUTHORITY}.pem", _pem(authority))
        for role in ROLES:
            key = ec.generate_private_key(ec.SECP256R1())
            _write(folder / f"{role}.pem", _pem(_signed(role, key, authority, authority_key, days)))
            _write(folder / f"{role}-key.pem", _pem_of_key(key))
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}", "Choose another folder."
        ) from error
    return files


def files_of(folder: Path, *roles: str) -> list[Path]:
    """Return the files of these roles, the certificate of the authority first."""
    own = [folder / f"{role}{end}" for role in roles for end in (".pem", "-key.pem")]
    return [folder / f"{AUTHORITY}.pem", *own]


def checked(folder: Path, role: str) -> Files:
    """Return the files of a role.

    Raises UsageError if one is missing, wrong or expired, or if they do not belong together.
    """
    try:
        from cryptography.exceptions import InvalidSignature
    except ImportError:
        raise install_first() from None
    files = Files(*files_of(folder, role))
    authority, own = (_certificate(path, folder) for path in (files.authority, files.certificate))
    for path, found in ((files.authority, authority), (files.certificate, own)):
        _check_dates(path, found)
    try:
        own.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError):
        raise UsageError(
            f"{files.certificate} is not signed by {files.authority.name} next to it",
            "Copy both from the folder of one `bench fleet certs DIR`.",
        ) from None
    _check_key(files.key, own, folder)
    return files


def _certificate(path: Path, folder: Path) -> Certificate:
    from cryptography import x509

    content = _read(path, folder)
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise UsageError(f"{path} is not a certificate", MAKE.format("DIR")) from None


def _check_dates(path: Path, found: Certificate) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    if found.not_valid_before_utc <= now < found.not_valid_after_utc:
        return
    is_old = now >= found.not_valid_after_utc
    said = f"expired on {found.not_valid_after_utc:{SHOWN}}" if is_old else "is not valid yet"
    raise UsageError(
        f"the certificate {path} {said}",
        "Set the clock of this machine, or make new ones: `bench fleet certs NEW_DIR`, for all "
        "machines of the fleet.",
    )


def _check_key(path: Path, found: Certificate, folder: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, folder)
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError):
        raise UsageError(f"{path} is not a key", MAKE.format("DIR")) from None
    if key.public_key() != found.public_key():
        raise UsageError(
            f"{path} is not the key of the certificate next to it",
            "Copy both from the folder of one `bench fleet certs DIR`.",
        )


def _read(path: Path, folder: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", MAKE.format(folder)) from error


def _signed(
    role: str,
    key: EllipticCurvePrivateKey,
    authority: Certificate | None,
    authority_key: EllipticCurvePrivateKey,
    days: int,
) -> Certificate:
    """Return the certificate of a role, signed by the authority; by itself for the authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"bench fleet {role}")])
    now = datetime.datetime.now(datetime.timezone.utc)
    is_authority = authority is None
    issuer = authority_key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks of machines differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), True)
        .add_extension(_usage(is_authority), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
        .sign(authority_key, hashes.SHA256())
    )


def _usage(is_authority: bool) -> KeyUsage:
    """Return what a key is for; Python 3.13 asks that an authority says so (RFC 5280, 4.2.1.3)."""
    from cryptography.x509 import KeyUsage

    never = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
        **dict.fromkeys(never, False),
    )


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _pem_of_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
