"""Objects in a bucket, by S3's protocol: the only door to boto3. What lies there, and why: sweep/archive.py."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastsearch.addresses import without_secrets
from plastsearch.errors import PlastsearchError, StorageError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_BLOCK = 1 << 20
_DIGEST = "sha256"  # among an object's own notes
_ABSENT = {"404", "NoSuchKey"}
_BEATEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_REFUSED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}


class BeatenError(StorageError):
    """Somebody else has written the object meanwhile."""


@dataclass(frozen=True)
class Place:
    """`s3://bucket/prefix`, taken apart."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, address: str) -> "Place":
        """Parse what was typed."""
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        if not address.startswith("s3://") or not bucket or not prefix.strip("/"):
            shown = without_secrets(address, address)
            raise PlastsearchError(f"{shown}: not an address of objects; write s3://BUCKET/PREFIX")
        return cls(bucket, prefix.strip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


class Objects:
    """What lies under a prefix; login and region come from the usual environment and files, and are never shown."""

    def __init__(self, place: Place, endpoint: str | None = None) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise PlastsearchError(
                "objects need boto3, which is not installed: pip install 'plastsearch[s3]' (or pip install boto3)"
            ) from None
        self.place = place
        self._server = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        patience = Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 2, "mode": "standard"})
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        with self._said("open"):
            self._client: Any = boto3.session.Session().client(
                "s3", endpoint_url=endpoint, region_name=region, config=patience
            )

    def read(self, name: str) -> tuple[bytes, str] | None:
        """An object's bytes and its version (ETag); None if there is none."""
        with self._said(name):
            try:
                answer = self._client.get_object(Bucket=self.place.bucket, Key=self._key(name))
            except self._client.exceptions.NoSuchKey:
                return None
            return answer["Body"].read(), answer["ETag"]

    def replace(self, name: str, content: bytes, version: str | None) -> None:
        """Write an object only if it still is of that version (None: is not there). BeatenError: it is not."""
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        with self._said(name):
            self._client.put_object(Bucket=self.place.bucket, Key=self._key(name), Body=content, **condition)

    def holds(self, name: str, size: int, digest: str) -> bool:
        """Whether the object is there, with this size and checksum."""
        from botocore.exceptions import ClientError

        with self._said(name):
            try:
                found = self._client.head_object(Bucket=self.place.bucket, Key=self._key(name))
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return False
                raise
            return bool(found["ContentLength"] == size and found["Metadata"].get(_DIGEST) == digest)

    def upload(self, name: str, path: Path, digest: str) -> None:
        """Write a file as an object; the server checks each part as it arrives."""
        more = {"Metadata": {_DIGEST: digest}, "ChecksumAlgorithm": "SHA256"}
        with self._said(name):
            self._client.upload_file(str(path), self.place.bucket, self._key(name), ExtraArgs=more)

    def download(self, name: str, path: Path) -> str | None:
        """Write an object into a file, and return the checksum of what came; None if there is no such object."""
        seen = hashlib.sha256()
        with self._said(name), path.open("wb") as file:
            try:
                answer = self._client.get_object(Bucket=self.place.bucket, Key=self._key(name))
            except self._client.exceptions.NoSuchKey:
                return None
            for block in answer["Body"].iter_chunks(_BLOCK):
                seen.update(block)
                file.write(block)
        return seen.hexdigest()

    def _key(self, name: str) -> str:
        return f"{self.place.prefix}/{name}"

    @contextmanager
    def _said(self, name: str) -> Iterator[None]:
        """What boto3 raises, in one sentence of ours."""
        from boto3.exceptions import Boto3Error
        from botocore import exceptions as failures

        where, server = str(self.place), without_secrets(self._server or "S3", self._server or "")
        try:
            yield
        except (failures.NoCredentialsError, failures.PartialCredentialsError, failures.ProfileNotFound):
            raise PlastsearchError(
                f"{where}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            ) from None
        except (failures.ConnectionError, failures.HTTPClientError, ValueError) as error:
            raise StorageError(
                f"{where}: no S3 server answers at {server} ({type(error).__name__}); check --endpoint"
            ) from None
        except failures.ClientError as error:
            raise self._refusal(error, name, server) from None
        except (failures.BotoCoreError, Boto3Error) as error:
            raise StorageError(f"{where}/{name}: {without_secrets(str(error)).splitlines()[0]}") from None

    def _refusal(self, error: "ClientError", name: str, server: str) -> PlastsearchError:
        code = _code(error)
        if code in _BEATEN:
            return BeatenError(f"{self.place}/{name}: somebody else has written it meanwhile")
        if code in ("NoSuchBucket", "InvalidBucketName"):
            return PlastsearchError(
                f"{self.place}: {server} has no bucket '{self.place.bucket}'; correct the address or create it"
            )
        if code in _REFUSED:
            return PlastsearchError(f"{self.place}: {server} refuses these credentials ({code}); check what they allow")
        return StorageError(f"{self.place}/{name}: {server} answers {code}; try again")


def _code(error: "ClientError") -> str:
    return str(error.response.get("Error", {}).get("Code", "an error without a name"))
