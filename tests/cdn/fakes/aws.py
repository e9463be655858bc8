"""What moto does not do: S3 and CloudFront that take their time, have limits and fail, by the rules of AWS.

Only what the balancer asks for, with XML as AWS writes it. moto is the stand-in for all else.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aiohttp import web
from aiohttp.test_utils import TestServer

KEY_ID: Final = "AKIAEXAMPLE00000WXYZ"
SECRET: Final = "a-secret-that-nobody-may-see"
DISTRIBUTION: Final = "EDFDVBD632BHDS5"
BUCKET: Final = "pictures"
MOST_WILDCARDS: Final = 15
MOST_PATHS: Final = 3000
LEAST_PART: Final = 5 * 1024 * 1024
_FRONT: Final = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
_S3: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_CREDENTIAL: Final = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_UNSAFE: Final = re.compile(r'[^!-~]|["<>\\^`{|}~\[\]]')

How = Literal["refuse", "reset", "truncate", "silence", "fine, but", "fine, and lost"]
"""The last two: status 200 with an error in its body; and done, but nobody gets the answer."""


@dataclass
class Fault:
    """What happens to the next calls of an operation, in the place of an answer."""

    operation: str
    how: How = "refuse"
    status: int = 503
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."
    times: int = 1
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Received:
    """What came, without what is of one day or one key."""

    operation: str
    line: str
    fields: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """As it stands in a golden file; the body only where it is text."""
        shown = "".join(f"{name}: {value}\n" for name, value in sorted(self.fields.items()))
        readable = self.body.startswith(b"<") or self.fields.get("content-type", "").startswith("text/")
        body = self.body.decode() if readable else ""
        return f"{self.line}\n{shown}\n{body}\n"


@dataclass
class Invalidation:
    identifier: str
    reference: str
    items: tuple[str, ...]
    done: bool = False
    asked: int = 0
    """How often somebody wanted to know."""


@dataclass
class Upload:
    key: str
    fields: Mapping[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class FakeAws:
    """One bucket and one distribution. Invalidations are in progress until `finish` is called."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.received: list[Received] = []
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, Upload] = {}
        self.invalidations: dict[str, Invalidation] = {}
        self.polls_to_done: int | None = None
        """An invalidation is done when it has been asked for so often; None: by `finish` alone."""
        self.most_open = [0, 0]
        """Wildcards and others that were in progress at once, at most."""
        self.billed = 0
        """Paths."""
        self.enabled = True
        self.status = "Deployed"
        self.aliases = ["cdn.example.com"]
        self.tag_header: str | None = "x-amz-meta-cache-tag"
        self.denied: set[str] = set()
        """Operations that the key has no right for."""
        self.largest_body = 0
        self.url = ""
        self._patience = asyncio.Event()

    # Driving it.

    def finish(self) -> None:
        """All invalidations reach all edges."""
        for one in self.invalidations.values():
            one.done = True

    def operations(self) -> list[str]:
        return [one.operation for one in self.received]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeAws]:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        server = TestServer(app)
        await server.start_server()
        self.url = f"http://127.0.0.1:{server.port}"
        try:
            yield self
        finally:
            self._patience.set()
            await server.close()

    # Answering.

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        operation = _operation(request, body)
        self.largest_body = max(self.largest_body, len(body))
        self.received.append(_received(operation, request, body))
        front = operation in (*_FRONT_OPERATIONS, "get_caller_identity")
        fault = next((one for one in self.faults if one.operation == operation and one.times > 0), None)
        try:
            if fault is not None:
                fault.times -= 1
                if not fault.how.startswith("fine"):
                    return await self._fail(request, fault, front)
            self._allow(request, operation)
            if fault is not None and fault.how == "fine, but":
                text = _error(fault.code, fault.message, front)
                return web.Response(status=200, text=text, content_type="application/xml")
            answer: web.StreamResponse = getattr(self, f"_{operation}")(request, body)
            if fault is not None and request.transport is not None:
                request.transport.abort()
            return answer
        except Refused as refused:
            text = "" if request.method == "HEAD" else _error(refused.code, refused.message, front)
            return web.Response(status=refused.status, text=text, content_type="application/xml", headers=_IDS)

    async def _fail(self, request: web.Request, fault: Fault, front: bool) -> web.StreamResponse:
        text = _error(fault.code, fault.message, front)
        if fault.how == "refuse":
            return web.Response(
                status=fault.status,
                text="" if request.method == "HEAD" else text,
                content_type="application/xml",
                headers={**_IDS, **fault.fields},
            )
        if fault.how == "silence":
            await self._patience.wait()
            return web.Response(status=500)
        assert request.transport is not None
        whole = f"<?xml version='1.0'?><Invalidation xmlns='{_FRONT}'><Id>I2J0I21PCUYOIK</Id><Status>In"
        if fault.how == "truncate":  # a whole answer by its length, and half a document
            return web.Response(status=201, text=whole, content_type="application/xml", headers=_IDS)
        response = web.StreamResponse(status=201, headers={"Content-Length": "4000", **_IDS})
        await response.prepare(request)
        await response.write(whole.encode())
        request.transport.abort()
        return response

    def _allow(self, request: web.Request, operation: str) -> None:
        found = _CREDENTIAL.search(request.headers.get("Authorization", ""))
        if found is None or found[1] != KEY_ID:
            raise Refused(403, "InvalidAccessKeyId", f"The key {found[1] if found else ''} is not in our records.")
        if operation in self.denied:
            user = "arn:aws:iam::123456789012:user/balancer"
            right = f"{_SERVICES.get(operation, 's3')}:{operation.title().replace('_', '')}"
            raise Refused(403, "AccessDenied", f"User: {user} is not authorized to perform: {right} on resource: x")

    # STS and CloudFront.

    def _get_caller_identity(self, request: web.Request, body: bytes) -> web.Response:
        return _xml(
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            "<Arn>arn:aws:iam::123456789012:user/balancer</Arn><UserId>AIDAEXAMPLE</UserId>"
            "<Account>123456789012</Account></GetCallerIdentityResult>"
            "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        )

    def _get_distribution(self, request: web.Request, body: bytes) -> web.Response:
        self._known(request)
        aliases = "".join(f"<CNAME>{name}</CNAME>" for name in self.aliases)
        tags = f"<CacheTagConfig><HeaderName>{self.tag_header}</HeaderName></CacheTagConfig>" if self.tag_header else ""
        return _xml(
            f'<Distribution xmlns="{_FRONT}"><Id>{DISTRIBUTION}</Id><ARN>arn:aws:cloudfront::1:x</ARN>'
            f"<Status>{self.status}</Status><LastModifiedTime>2026-11-01T00:00:00Z</LastModifiedTime>"
            f"<InProgressInvalidationBatches>{len(self._open())}</InProgressInvalidationBatches>"
            "<DomainName>d111111abcdef8.cloudfront.net</DomainName><DistributionConfig>"
            f"<Aliases><Quantity>{len(self.aliases)}</Quantity><Items>{aliases}</Items></Aliases>"
            f"<Enabled>{str(self.enabled).lower()}</Enabled>{tags}</DistributionConfig></Distribution>"
        )

    def _create_invalidation(self, request: web.Request, body: bytes) -> web.Response:
        self._known(request)
        root = ElementTree.fromstring(body)
        items = tuple(item.text or "" for item in root.iter(f"{{{_FRONT}}}Path"))
        quantity = root.find(f".//{{{_FRONT}}}Quantity")
        reference = root.find(f".//{{{_FRONT}}}CallerReference")
        assert quantity is not None
        assert reference is not None
        assert reference.text
        if int(quantity.text or 0) != len(items) or not items:
            raise Refused(400, "InconsistentQuantities", "The value of Quantity and the size of Items do not match.")
        for item in items:
            self._check_item(item)
        for one in self.invalidations.values():
            if one.reference == reference.text:
                if one.items != items:
                    raise Refused(409, "InvalidationBatchAlreadyExists", "The reference has been used for other paths.")
                return _invalidation(one, 201)
        kept = [item for one in self._open() for item in one.items]
        stars = sum(item.endswith("*") for item in (*kept, *items))
        if stars > MOST_WILDCARDS or len(kept) + len(items) - stars > MOST_PATHS:
            raise Refused(
                400, "TooManyInvalidationsInProgress", "You have exceeded the maximum number of invalidations."
            )
        made = Invalidation(f"I{len(self.invalidations) + 1:013d}", reference.text, items)
        self.invalidations[made.identifier] = made
        self.billed += len(items)
        self.most_open = [max(self.most_open[0], stars), max(self.most_open[1], len(kept) + len(items) - stars)]
        return _invalidation(made, 201)

    def _check_item(self, item: str) -> None:
        if item.startswith("#"):
            if not re.fullmatch(r"#[!-+\--~]{1,256}", item) or "*" in item:
                raise Refused(400, "InvalidArgument", f"Your request contains an invalid cache tag: {item}")
        elif not item.startswith("/") or "*" in item[:-1] or len(item) > 4000 or _UNSAFE.search(item):
            raise Refused(400, "InvalidArgument", "Your request contains one or more invalid invalidation paths.")

    def _get_invalidation(self, request: web.Request, body: bytes) -> web.Response:
        self._known(request)
        found = self.invalidations.get(request.path.rpartition("/")[2])
        if found is None:
            raise Refused(404, "NoSuchInvalidation", "The specified invalidation does not exist.")
        found.asked += 1
        found.done = found.done or found.asked == self.polls_to_done
        return _invalidation(found, 200)

    def _open(self) -> list[Invalidation]:
        return [one for one in self.invalidations.values() if not one.done]

    def _known(self, request: web.Request) -> None:
        if request.path.split("/")[3] != DISTRIBUTION:
            raise Refused(404, "NoSuchDistribution", "The specified distribution does not exist.")

    # S3.

    def _head_bucket(self, request: web.Request, body: bytes) -> web.Response:
        if request.path.strip("/") != BUCKET:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist")
        return web.Response()

    def _head_object(self, request: web.Request, body: bytes) -> web.Response:
        content = self.objects.get(_key(request))
        if content is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        return web.Response(headers={"ETag": _etag(content), "Content-Length": str(len(content))})

    def _put_object(self, request: web.Request, body: bytes) -> web.Response:
        self._condition(request)
        self.objects[_key(request)] = body
        return web.Response(headers={"ETag": _etag(body), **_IDS})

    def _delete_object(self, request: web.Request, body: bytes) -> web.Response:
        self.objects.pop(_key(request), None)
        return web.Response(status=204)

    def _create_multipart_upload(self, request: web.Request, body: bytes) -> web.Response:
        identifier = f"upload-{len(self.uploads) + 1}"
        self.uploads[identifier] = Upload(_key(request), dict(request.headers))
        return _xml(
            f'<InitiateMultipartUploadResult xmlns="{_S3}"><Bucket>{BUCKET}</Bucket>'
            f"<Key>{escape(_key(request))}</Key><UploadId>{identifier}</UploadId></InitiateMultipartUploadResult>"
        )

    def _upload_part(self, request: web.Request, body: bytes) -> web.Response:
        upload = self._upload(request)
        upload.parts[int(request.query["partNumber"])] = body
        return web.Response(headers={"ETag": _etag(body)})

    def _complete_multipart_upload(self, request: web.Request, body: bytes) -> web.Response:
        upload = self._upload(request)
        numbers = [int(one.text or 0) for one in ElementTree.fromstring(body).iter(f"{{{_S3}}}PartNumber")]
        if numbers != sorted(upload.parts):
            raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found.")
        if any(len(upload.parts[number]) < LEAST_PART for number in numbers[:-1]):
            raise Refused(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        self._condition(request)
        content = b"".join(upload.parts[number] for number in numbers)
        self.objects[upload.key] = content
        del self.uploads[request.query["uploadId"]]
        return _xml(
            f'<CompleteMultipartUploadResult xmlns="{_S3}"><Bucket>{BUCKET}</Bucket><Key>{escape(upload.key)}</Key>'
            f"<ETag>&quot;{hashlib.md5(content).hexdigest()}-{len(numbers)}&quot;</ETag></CompleteMultipartUploadResult>"
        )

    def _abort_multipart_upload(self, request: web.Request, body: bytes) -> web.Response:
        self._upload(request)
        del self.uploads[request.query["uploadId"]]
        return web.Response(status=204)

    def _upload(self, request: web.Request) -> Upload:
        found = self.uploads.get(request.query["uploadId"])
        if found is None:
            raise Refused(404, "NoSuchUpload", "The specified multipart upload does not exist.")
        return found

    def _condition(self, request: web.Request) -> None:
        if request.headers.get("If-None-Match") == "*" and _key(request) in self.objects:
            raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")


_IDS: Final = {"x-amzn-RequestId": "req-1", "x-amz-request-id": "req-1"}
_FRONT_OPERATIONS: Final = ("create_invalidation", "get_invalidation", "get_distribution")
_SERVICES: Final = {**dict.fromkeys(_FRONT_OPERATIONS, "cloudfront"), "get_caller_identity": "sts"}
_UNSTABLE: Final = ("amz-sdk-", "x-amz-date", "x-amz-content", "x-amz-checksum", "x-amz-sdk", "x-amz-trailer", "host")
_SHOWN: Final = ("content-type", "cache-control", "if-none-match", "x-amz-meta-", "content-length", "user-agent")


def _operation(request: web.Request, body: bytes) -> str:
    path, query, method = request.path, request.query, request.method
    if path.startswith("/2020-05-31/"):
        if not path.partition("/distribution/")[2].partition("/")[2]:
            return "get_distribution"
        return "create_invalidation" if method == "POST" else "get_invalidation"
    if path == "/":
        return "get_caller_identity"
    if "/" not in path.strip("/"):
        return "head_bucket"
    if "uploads" in query:
        return "create_multipart_upload"
    if "uploadId" in query:
        by_method = {"PUT": "upload_part", "POST": "complete_multipart_upload", "DELETE": "abort_multipart_upload"}
        return by_method[method]
    return {"PUT": "put_object", "HEAD": "head_object", "DELETE": "delete_object"}[method]


def _received(operation: str, request: web.Request, body: bytes) -> Received:
    fields = {name.lower(): value for name, value in request.headers.items() if name.lower().startswith(_SHOWN)}
    fields.pop("user-agent", None)
    found = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    fields["authorization"] = f"AWS4-HMAC-SHA256 for {found[3]} in {found[2]}" if found is not None else "none"
    return Received(operation, f"{request.method} {request.raw_path}", fields, body)


def _key(request: web.Request) -> str:
    return request.path.lstrip("/").partition("/")[2]


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def _xml(text: str, status: int = 200) -> web.Response:
    return web.Response(status=status, text=f'<?xml version="1.0"?>{text}', content_type="text/xml", headers=_IDS)


def _invalidation(one: Invalidation, status: int) -> web.Response:
    items = "".join(f"<Path>{escape(item)}</Path>" for item in one.items)
    return _xml(
        f'<Invalidation xmlns="{_FRONT}"><Id>{one.identifier}</Id>'
        f"<Status>{'Completed' if one.done else 'InProgress'}</Status><CreateTime>2026-11-23T12:00:00Z</CreateTime>"
        f"<InvalidationBatch><Paths><Quantity>{len(one.items)}</Quantity><Items>{items}</Items></Paths>"
        f"<CallerReference>{one.reference}</CallerReference></InvalidationBatch></Invalidation>",
        status,
    )


def _error(code: str, message: str, front: bool) -> str:
    inner = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if front:
        return (
            f'<?xml version="1.0"?><ErrorResponse xmlns="{_FRONT}"><Error><Type>Sender</Type>{inner}</Error>'
            "<RequestId>req-1</RequestId></ErrorResponse>"
        )
    return f'<?xml version="1.0"?><Error>{inner}<RequestId>req-1</RequestId></Error>'
