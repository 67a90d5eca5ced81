"""Why no HTTPS connection came about, and what to do."""

from __future__ import annotations

import ssl

from botocore.exceptions import SSLError

DATES = {9, 10}
"""OpenSSL's codes for a certificate that is not valid yet, or not any more."""
NO_CERTIFICATES = {"X509", "PEM", "ASN1"}
"""The parts of OpenSSL that read a file of certificates."""


def reason(error: SSLError) -> str:
    """What botocore's error comes from, as a sentence without its end."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message.rstrip(".")
        if cause.verify_code in DATES:
            return f"its certificate is out of date ({why}). Renew it, or check the clocks"
        return (
            f"its certificate is not trusted here ({why}). Set AWS_CA_BUNDLE to a file with the "
            f"certificate of the authority that signed it"
        )
    if isinstance(cause, ssl.SSLError):
        if cause.library in NO_CERTIFICATES:
            return "the file of AWS_CA_BUNDLE holds no certificate. Correct AWS_CA_BUNDLE"
        why = (cause.reason or "no reason given").replace("_", " ").lower()
        return (
            f"no TLS connection is possible ({why}). Check LONGREEL_S3_ENDPOINT_URL, which begins "
            f"with http:// where the server has no TLS"
        )
    if isinstance(cause, OSError):
        return f"the file of AWS_CA_BUNDLE cannot be read ({cause.strerror}). Correct AWS_CA_BUNDLE"
    return f"its certificate is for another name ({cause}). Correct LONGREEL_S3_ENDPOINT_URL"


def _cause(error: SSLError) -> object:
    """The first message of Python's ssl, or of urllib3's comparison of names."""
    cause: object = error.kwargs.get("error", error)
    while isinstance(cause, Exception) and cause.args and isinstance(cause.args[0], Exception):
        cause = cause.args[0]
    return cause
