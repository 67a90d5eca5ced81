"""Errors of boto3 and of the server, as Longreel's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)

from film.errors import ObjectMissingError, StoreError, StoreFullError, StoreUnreachableError
from storage import tls

MISSING = {"404", "NoSuchKey", "NotFound"}
FULL = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "507"}
BUSY = {"SlowDown", "RequestTimeout"}
REGION = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"}
DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem"}
CREDENTIALS = {
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key does not go with the access key",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is not valid",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
}


@dataclass(frozen=True)
class Bucket:
    """A place in S3, which knows how to name itself in an error."""

    name: str
    prefix: str
    """Empty, or ends with a slash."""
    endpoint_url: str | None

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    @property
    def place(self) -> str:
        """The URL, and the server if it is not AWS."""
        return f"{self.url} at {self.endpoint_url}" if self.endpoint_url else self.url

    @contextmanager
    def errors(self, key: str) -> Iterator[None]:
        """Run what talks to the bucket about `key`; raises members of our error tree only."""
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise self._unreachable(
                "no credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or AWS_PROFILE, or give this machine a role"
            ) from error
        except FlexibleChecksumError as error:
            raise StoreError(
                f"The object {key} in {self.place} is damaged: its bytes do not have the checksum "
                f"that the server keeps. Delete it and have it rendered again."
            ) from error
        except SSLError as error:
            raise self._unreachable(tls.reason(error)) from error
        except (BotoCoreError, Boto3Error, ClientError) as error:
            answer = _answer(error)
            if answer is not None:
                raise self._refused(answer, key) from error
            silent = isinstance(error, (EndpointConnectionError, ConnectTimeoutError))
            why = "nothing answers there" if silent else _one_line(error)
            raise self._unreachable(
                f"{why}. Check LONGREEL_S3_ENDPOINT_URL and the network"
            ) from error

    def answered_by_another(self, operation: str) -> StoreUnreachableError:
        """The error for a success that is not the store's, such as the page of a proxy."""
        return self._unreachable(
            f"something else answers {operation} in its place, such as the sign-in page of a "
            "proxy. Check LONGREEL_S3_ENDPOINT_URL and the network"
        )

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Like `errors`, for calls whose refusal means that the store cannot be used."""
        try:
            with self.errors("(none)"):
                yield
        except (StoreFullError, StoreUnreachableError):
            raise
        except StoreError as error:
            cause = error.__cause__ or error
            raise self._unreachable(
                f"it does not answer as S3 does ({cause}). Check LONGREEL_S3_ENDPOINT_URL"
            ) from error

    def _refused(self, error: ClientError, key: str) -> StoreError:
        """The error for an answer of the server that is not a success."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in MISSING:
            return ObjectMissingError(
                f"There is no object {key} in {self.url}; it was deleted or never stored."
            )
        if code in FULL:
            return StoreFullError(
                f"No space is left in {self.place} ({code}). Delete what is not needed, "
                "or raise the quota."
            )
        reason = self._reason(code, status, error.operation_name)
        if reason is not None:
            return self._unreachable(reason)
        return StoreError(f"{self.place} refused {error.operation_name} of {key}: {error}.")

    def _reason(self, code: str, status: int, operation: str) -> str | None:
        """Why the store as a whole cannot be used, and what to do; `None` for other answers."""
        if code == "NoSuchBucket":
            return f"there is no bucket {self.name}. Create it, or correct LONGREEL_STORE_URL"
        if code in CREDENTIALS:
            return (
                f"{CREDENTIALS[code]} ({code}). Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
                "and AWS_SESSION_TOKEN, or the profile in use"
            )
        if code in REGION:
            return f"the bucket is in another region ({code}). Set AWS_DEFAULT_REGION to it"
        if code in DENIED or status in (401, 403):
            return (
                f"{operation} is not allowed ({code}). Check the credentials, and the policy "
                "of the bucket (docs/storage.md lists the actions it needs)"
            )
        if code in BUSY or status >= 500:
            return f"it answers {code} to {operation}. Try again later"
        return None

    def _unreachable(self, why: str) -> StoreUnreachableError:
        return StoreUnreachableError(f"Cannot use the store {self.place}: {why}.")


def _answer(error: BaseException) -> ClientError | None:
    """The answer of the server that boto3 may have wrapped into `error`."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ClientError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
