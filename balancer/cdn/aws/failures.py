"""What AWS, and what speaks as S3 does, says went wrong, as errors of ours. Pure: codes in, errors out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from balancer.cdn.errors import (
    AuthError,
    CdnError,
    ConfigError,
    Invalid,
    MissingRight,
    NotFound,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    TooLarge,
    Unavailable,
)

TOO_MANY: Final = "TooManyInvalidationsInProgress"
TOO_MANY_WAIT: Final = 30.0
"""Seconds until the next try; CloudFront says none, and an invalidation takes minutes."""
SLOW_DOWN_WAIT: Final = 5.0
"""Seconds after SlowDown and Throttling, which come without Retry-After, too."""
LONGEST: Final = 300
"""Characters of a foreign message that are repeated."""

_BY_CODE: Final[dict[str, type[CdnError]]] = {
    **dict.fromkeys(
        (
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "InvalidToken",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "OptInRequired",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
            "Unauthorized",
            "UnrecognizedClientException",
        ),
        AuthError,
    ),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "UnauthorizedOperation"),
        MissingRight,
    ),
    **dict.fromkeys(
        (
            "NoSuchBucket",
            "NoSuchDistribution",
            "NoSuchInvalidation",
            "NoSuchKey",
            "NoSuchUpload",
            "NotFound",
            "ResourceNotFound",
            "ResourceNotFoundException",
        ),
        NotFound,
    ),
    **dict.fromkeys(
        (
            "BandwidthLimitExceeded",
            "PriorRequestNotComplete",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
            "TooManyRequestsException",
            TOO_MANY,
        ),
        RateLimited,
    ),
    **dict.fromkeys(("QuotaExceeded", "ServiceQuotaExceededException", "StorageFull"), QuotaExhausted),
    **dict.fromkeys(("BatchTooLarge", "EntityTooLarge", "MaxMessageLengthExceeded", "RequestEntityTooLarge"), TooLarge),
    **dict.fromkeys(
        (
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "IncorrectEndpoint",
            "PermanentRedirect",
            "TemporaryRedirect",
        ),
        ConfigError,
    ),
    **dict.fromkeys(
        (
            # Of these some are 400 or 409, and none is a mistake of whoever asked.
            "ConditionalRequestConflict",
            "InternalError",
            "InternalFailure",
            "InternalServiceError",
            "OperationAborted",
            "RequestTimeout",
            "RequestTimeoutException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
        ),
        Unavailable,
    ),
}
_BY_STATUS: Final[dict[int, type[CdnError]]] = {
    301: ConfigError,
    307: ConfigError,
    401: AuthError,
    403: MissingRight,
    404: NotFound,
    408: Unavailable,
    413: TooLarge,
    429: RateLimited,
}
_RIGHTS: Final = {
    "s3.head_bucket": "s3:ListBucket",
    "s3.head_object": "s3:GetObject",
    "s3.list_objects_v2": "s3:ListBucket",
    "s3.create_multipart_upload": "s3:PutObject",
    "s3.upload_part": "s3:PutObject",
    "s3.complete_multipart_upload": "s3:PutObject",
}
"""Where the right is not the operation's own name."""
_NAMED = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")
_CLOCK: Final = {"RequestTimeTooSkewed", "RequestExpired"}
_CREDENTIAL: Final = {
    "aws": "cdn.api_key, which is KEYID:SECRET, or what boto finds by itself",
    "cloudflare": "cdn.cloudflare.access_key_id and secret_access_key, which are R2's own and no API token",
}
_PLACE: Final = {"aws": "cdn.aws.region", "cloudflare": "cdn.cloudflare.account_id"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of whom."""

    provider: str
    """Ours: aws, cloudflare."""
    service: str
    """AWS's word: s3, cloudfront, cloudwatch, sts."""
    operation: str
    """The library's: put_object."""
    about: str = ""
    """What it was about, for the message: bucket pictures."""

    @property
    def right(self) -> str:
        """What an IAM policy has to allow for it."""
        name = f"{self.service}.{self.operation}"
        own = "".join(part.capitalize() for part in self.operation.split("_"))
        return _RIGHTS.get(name, f"{self.service}:{own}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says no."""

    code: str
    """A status in digits, where the answer had no body."""
    message: str = ""
    status: int | None = None
    request_id: str | None = None
    retry_after_s: float | None = None

    @property
    def kind(self) -> type[CdnError]:
        """What it is, by its code, else by its status."""
        known = _BY_CODE.get(self.code)
        if known is not None:
            return known
        status = self.status if self.status is not None else int(self.code) if self.code.isdigit() else 0
        if status in _BY_STATUS:
            return _BY_STATUS[status]
        if status >= 500:
            return Unavailable
        return Invalid if 400 <= status < 500 else ProtocolError


def refused(asked: Asked, refusal: Refusal) -> CdnError:
    """The error of a refusal."""
    kind = refusal.kind
    wait = refusal.retry_after_s
    if kind is RateLimited and wait is None:
        wait = TOO_MANY_WAIT if refusal.code == TOO_MANY else SLOW_DOWN_WAIT
    return kind(
        f"{_subject(asked)} answered {_answer(refusal)}: {_sentence(asked, refusal, kind)}",
        provider=asked.provider,
        status=refusal.status,
        provider_code=refusal.code,
        request_id=refusal.request_id,
        retry_after_s=wait,
    )


def unreached(asked: Asked, reason: str) -> CdnError:
    """There was no answer, or only a part of one."""
    return Unavailable(f"{_subject(asked)} did not answer: {short(reason)}", provider=asked.provider)


def short(text: str) -> str:
    """A foreign text in one line of bounded length."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _subject(asked: Asked) -> str:
    about = f" for {asked.about}" if asked.about else ""
    return f"{asked.service} {asked.operation}{about}"


def _answer(refusal: Refusal) -> str:
    if refusal.status is None or refusal.code == str(refusal.status):
        return refusal.code
    return f"{refusal.status} {refusal.code}"


def _sentence(asked: Asked, refusal: Refusal, kind: type[CdnError]) -> str:
    if kind is MissingRight:
        named = _NAMED.search(refusal.message)
        right = named[1] if named is not None else asked.right
        if asked.provider == "aws":
            return f"the credential may not do this; allow {right} in its policy"
        return f"the credential may not do this; its token needs the right to read and write objects ({right})"
    if refusal.code in _CLOCK:
        return "the clock of this machine differs too much from the provider's; set it by NTP"
    if kind is AuthError:
        # Not its own words: what was signed is among them, session tokens included.
        return f"the credential is not taken; check {_CREDENTIAL.get(asked.provider, 'it')}"
    if kind is ConfigError:
        return f"the bucket is in another place; check {_PLACE.get(asked.provider, 'it')} and cdn.endpoints"
    return short(refusal.message) or "without a word"
