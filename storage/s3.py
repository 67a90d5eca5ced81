"""A store in a bucket of S3, or of a server that speaks its protocol."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast
from urllib.parse import quote

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from film.errors import ObjectMissingError
from storage.base import ObjectInfo, check_expires, content_type_of, corrupt
from storage.files import copy, os_errors, replacing
from storage.keys import check_key, check_prefix
from storage.s3_errors import Bucket

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

Checksums = Literal["when_supported", "when_required"]

DEFAULT_REGION = "us-east-1"
PART_BYTES = 16 << 20
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
CHECK_SECONDS = 3.0
"""How long `check` waits for each connection and each answer."""

NO_ETAG = f'"{"0" * 32}"'
NOT_THERE = {"NoSuchKey", "PreconditionFailed", "404", "412"}
"""What servers answer to a change of an object that is not there."""

PAGE = "text/html"
"""Never the type of an object of ours."""

BROKEN_OFF = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
"""An answer that ended in its middle. (What fails before that, boto3 itself tries again.)"""


class S3Store:
    """An `ObjectStore` in `bucket`, under `prefix`, with credentials of the usual AWS chain.

    Files above `part_bytes` go up in parts of that size. A request that fails in
    a way that may pass is tried `attempts` times in all.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        checksums: str = "when_supported",
        part_bytes: int = PART_BYTES,
        attempts: int = 4,
    ) -> None:
        self._prefix = f"{prefix}/" if prefix else ""
        self.bucket = bucket
        self._bucket = Bucket(bucket, self._prefix, endpoint_url)
        self._checksums = cast("Checksums", checksums)
        self._attempts = attempts
        self._transfer = TransferConfig(
            multipart_threshold=part_bytes, multipart_chunksize=part_bytes, max_concurrency=4
        )

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return self._bucket.url

    def put_file(
        self, key: str, path: str | Path, *, content_type: str | None = None
    ) -> ObjectInfo:
        """See `ObjectStore`; parts of an upload that fails are removed again."""
        name = self._name(key)
        with Path(path).open("rb") as source, self._bucket.errors(key):
            digest, size = copy(source)
            source.seek(0)
            self._client.upload_fileobj(
                source,
                self.bucket,
                name,
                ExtraArgs={
                    "ContentType": content_type or content_type_of(key),
                    "Metadata": {"sha256": digest},
                },
                Config=self._transfer,
            )
            answer = self._client.head_object(Bucket=self.bucket, Key=name)
        stored = _info(key, answer["ContentLength"], answer["Metadata"])
        # Another writer may have replaced it meanwhile; a page in place of the store has no digest.
        if stored.size_bytes != size and stored.sha256 is None:
            raise self._bucket.answered_by_another("PutObject")
        return ObjectInfo(key=key, size_bytes=size, sha256=digest)

    def get_file(self, key: str, path: str | Path) -> ObjectInfo:
        """See `ObjectStore`."""
        name, target = self._name(key), Path(path)
        with (
            os_errors(f"the folder {target.parent}", "Check that it can be written to."),
            replacing(target) as copied,
            self._bucket.errors(key),
        ):
            for _ in range(self._attempts - 1):
                with suppress(*BROKEN_OFF):
                    return self._download(key, name, copied)
                copied.seek(0)
                copied.truncate()
            return self._download(key, name, copied)

    def _download(self, key: str, name: str, copied: BinaryIO) -> ObjectInfo:
        """Get and verify.

        One answer holds both the bytes and the checksum that belongs to them, whichever writer
        replaces the object meanwhile; a download in parts would mix two takes.
        """
        answer = self._client.get_object(Bucket=self.bucket, Key=name)
        if answer.get("ContentType", "").startswith(PAGE) and not answer["Metadata"]:
            answer["Body"].close()
            raise self._bucket.answered_by_another("GetObject")
        recorded = _info(key, answer["ContentLength"], answer["Metadata"])
        with closing(answer["Body"]) as body:
            digest, size = copy(body, copied)
        if recorded.sha256 not in (None, digest):
            raise corrupt(self.url, recorded, digest)
        return ObjectInfo(key=key, size_bytes=size, sha256=digest)

    def head(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        name = self._name(key)
        try:
            with self._bucket.errors(key):
                answer = self._client.head_object(Bucket=self.bucket, Key=name)
        except ObjectMissingError:
            return None
        return _info(key, answer["ContentLength"], answer["Metadata"])

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        name = self._name(key)
        with self._bucket.errors(key):
            self._client.delete_object(Bucket=self.bucket, Key=name)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore`."""
        above = self._prefix + check_prefix(prefix)
        with self._bucket.errors(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=above):
                for entry in page.get("Contents", []):
                    key = entry["Key"].removeprefix(self._prefix)
                    yield ObjectInfo(
                        key=key,
                        size_bytes=entry["Size"],
                        sha256=None,
                        modified_at=entry["LastModified"].timestamp(),
                    )

    def link(self, key: str, expires: float, filename: str | None = None) -> str:
        """See `ObjectStore`; signed here, without asking the server.

        Signed with temporary credentials, a link ends when they do.
        """
        params: dict[str, Any] = {"Bucket": self.bucket, "Key": self._name(key)}
        if filename is not None:
            params["ResponseContentDisposition"] = _attachment(filename)
        seconds = check_expires(expires)
        with self._bucket.errors(key):
            return self._client.generate_presigned_url(
                "get_object", Params=params, ExpiresIn=seconds
            )

    def check(self) -> None:
        """See `ObjectStore`.

        The right to write is shown by a change of an object that does not exist: a caller who may
        write gets that answer, and nothing is left behind, even if this process is killed
        meanwhile.
        """
        key = f"check/{secrets.token_hex(8)}"
        where: dict[str, Any] = {"Bucket": self.bucket, "Key": self._name(key)}
        with self._bucket.checking(), ExitStack() as stack:
            client = self._connect(CHECK_SECONDS, CHECK_SECONDS, attempts=1)
            stack.callback(client.close)
            client.list_objects_v2(Bucket=self.bucket, Prefix=self._prefix, MaxKeys=1)
            with suppress(ObjectMissingError), self._bucket.errors(key):
                client.head_object(**where)
            try:
                client.put_object(**where, Body=b"", IfMatch=NO_ETAG)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in NOT_THERE:
                    raise
            else:
                client.delete_object(**where)  # from a server without conditional requests

    @cached_property
    def _client(self) -> S3Client:
        return self._connect(CONNECT_SECONDS, READ_SECONDS, attempts=self._attempts)

    def _connect(self, connect_seconds: float, read_seconds: float, *, attempts: int) -> S3Client:
        session = boto3.session.Session()
        config = Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            signature_version="s3v4",
            # Servers of one's own seldom have a DNS name for every bucket.
            s3={"addressing_style": "path" if self._bucket.endpoint_url else "auto"},
            request_checksum_calculation=self._checksums,
            response_checksum_validation=self._checksums,
        )
        return session.client(
            "s3",
            region_name=session.region_name or DEFAULT_REGION,
            endpoint_url=self._bucket.endpoint_url,
            config=config,
        )

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)


def _info(key: str, size_bytes: int, metadata: dict[str, str]) -> ObjectInfo:
    digest = metadata.get("sha256", "").lower()
    known = re.fullmatch("[0-9a-f]{64}", digest)
    return ObjectInfo(key=key, size_bytes=size_bytes, sha256=digest if known else None)


def _attachment(filename: str) -> str:
    """A Content-Disposition with any file name in it (RFC 6266, RFC 8187)."""
    # No path, no control characters, no lone surrogates: nothing that could end the header.
    text = re.sub(r"[\x00-\x1f\x7f/\\\ud800-\udfff]", "_", filename)
    plain = re.sub(r'[^ -~]|["%]', "_", text)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(text, safe='')}"
