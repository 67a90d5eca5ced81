"""Certificates for servers of 127.0.0.1, signed by an authority that nothing else trusts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 2


@dataclass(frozen=True)
class Certificate:
    """Files of a server's certificate, its key, and the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path


def make_certificate(folder: Path, address: str = "127.0.0.1") -> Certificate:
    """A certificate for `address`, by a new authority; the files are in `folder`."""
    root_key, own_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, own_name = _name("Longreel's tests"), _name(address)
    root = (
        _builder(root_name, root_name, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    root_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    own = (
        _builder(own_name, root_name, own_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(root_id, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    made = Certificate(folder / "server.pem", folder / "server.key", folder / "authority.pem")
    made.certificate.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    made.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        own_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=DAYS))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
