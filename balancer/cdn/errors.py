"""What can go wrong with a CDN, by who has to do something about it."""

from __future__ import annotations

from typing import ClassVar


class CdnError(Exception):
    """The text is a sentence for the operator: what was expected, what came, what to do. Never a secret."""

    code: ClassVar[str] = "cdn_error"
    retryable: ClassVar[bool] = False
    """The same call may succeed later."""

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        provider_code: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        """The provider's status."""
        self.provider_code = provider_code
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        """Seconds after which the provider wants to be asked again."""


class ConfigError(CdnError):
    """A setting is missing, or two of them disagree; names it."""

    code = "cdn_config"


class AuthError(CdnError):
    """The provider does not take our credential."""

    code = "cdn_auth"


class MissingRight(AuthError):
    """The credential is good, and may not do this; names the right."""

    code = "cdn_permission"


class NotFound(CdnError):
    """A zone, distribution, bucket or file is not there."""

    code = "cdn_not_found"


class Invalid(CdnError):
    """What was asked for can not be, by our rules or the provider's."""

    code = "cdn_invalid"


class Conflict(CdnError):
    """It contradicts what was said before: an idempotency key that came with another order."""

    code = "cdn_conflict"


class TooLarge(Invalid):
    """More bytes than are taken."""

    code = "cdn_too_large"


class ImageRejected(Invalid):
    """A picture that is not made into another one. `reason`: format, pixels, bytes, dimensions, decode, animation,
    memory."""

    code = "cdn_image_rejected"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SourceBlocked(Invalid):
    """A source that is not fetched from. The text says no more than that: it is no port scanner."""

    code = "source_blocked"
    reason: str = ""
    """Why, for the operator alone."""


class SourceUnreachable(CdnError):
    """A source that may be fetched from, and did not give a picture."""

    code = "source_unreachable"
    reason: str = ""
    """Why, for the operator alone."""


class Unsupported(CdnError):
    """The provider has nothing of the kind, or it is not switched on there."""

    code = "cdn_unsupported"


class RateLimited(CdnError):
    """The provider wants fewer calls."""

    code = "cdn_rate_limited"
    retryable = True


class QuotaExhausted(CdnError):
    """A budget is spent; asking again soon does not help."""

    code = "cdn_quota"


class Full(QuotaExhausted):
    """No room on the disk, or in a queue."""

    code = "cdn_full"


class Unavailable(CdnError):
    """The provider does not answer, or says that something of its own has failed."""

    code = "cdn_unavailable"
    retryable = True


class ProtocolError(CdnError):
    """An answer that is none: no JSON where that was promised, success: false without a known reason."""

    code = "cdn_protocol"
    retryable = True  # a part of it may have been lost on the way
    kept: str = ""
    """Its beginning, without secrets."""
