"""What AWS says went wrong, as errors of ours: by code, else by status."""

import pytest

from balancer.cdn.aws.failures import LONGEST, Asked, Refusal, refused, short
from balancer.cdn.errors import (
    AuthError,
    CdnError,
    ConfigError,
    Invalid,
    MissingRight,
    NotFound,
    ProtocolError,
    RateLimited,
    TooLarge,
    Unavailable,
)

PUT = Asked("aws", "s3", "put_object", "bucket pictures")

TABLE: list[tuple[int | None, str, type[CdnError]]] = [
    (403, "InvalidAccessKeyId", AuthError),
    (403, "SignatureDoesNotMatch", AuthError),
    (403, "RequestTimeTooSkewed", AuthError),
    (400, "ExpiredToken", AuthError),
    (403, "InvalidClientTokenId", AuthError),
    (401, "Unauthorized", AuthError),
    (403, "AccessDenied", MissingRight),
    (403, "403", MissingRight),
    (404, "404", NotFound),
    (404, "NoSuchBucket", NotFound),
    (404, "NoSuchKey", NotFound),
    (404, "NoSuchDistribution", NotFound),
    (404, "NoSuchInvalidation", NotFound),
    (503, "SlowDown", RateLimited),
    (400, "Throttling", RateLimited),
    (400, "ThrottlingException", RateLimited),
    (400, "TooManyInvalidationsInProgress", RateLimited),
    (429, "TooManyRequests", RateLimited),
    (413, "BatchTooLarge", TooLarge),
    (400, "EntityTooLarge", TooLarge),
    (400, "InconsistentQuantities", Invalid),
    (400, "InvalidArgument", Invalid),
    (400, "MissingBody", Invalid),
    (400, "EntityTooSmall", Invalid),
    (412, "PreconditionFailed", Invalid),
    (409, "InvalidationBatchAlreadyExists", Invalid),
    (301, "PermanentRedirect", ConfigError),
    (400, "AuthorizationHeaderMalformed", ConfigError),
    (409, "ConditionalRequestConflict", Unavailable),
    (400, "RequestTimeout", Unavailable),
    (500, "InternalError", Unavailable),
    (503, "ServiceUnavailable", Unavailable),
    (502, "nobody has heard of this", Unavailable),
    (418, "nobody has heard of this", Invalid),
    (None, "nothing", ProtocolError),
]


@pytest.mark.parametrize(("status", "code", "kind"), TABLE)
def test_a_refusal_is_an_error_by_its_code_else_by_its_status(
    status: int | None, code: str, kind: type[CdnError]
) -> None:
    error = refused(PUT, Refusal(code, "Its own words.", status, "req-1"))
    assert type(error) is kind
    assert (error.provider, error.status, error.provider_code, error.request_id) == ("aws", status, code, "req-1")
    assert str(error).startswith("s3 put_object for bucket pictures answered")


def test_what_comes_too_often_says_when_to_come_again() -> None:
    many = refused(PUT, Refusal("TooManyInvalidationsInProgress", "", 400))
    slow = refused(PUT, Refusal("SlowDown", "", 503))
    told = refused(PUT, Refusal("SlowDown", "", 503, retry_after_s=12.0))
    assert (many.retry_after_s, slow.retry_after_s, told.retry_after_s) == (30.0, 5.0, 12.0)
    assert all(error.retryable for error in (many, slow, told))


@pytest.mark.parametrize(
    ("service", "operation", "message", "right"),
    [
        ("s3", "put_object", "Access Denied", "s3:PutObject"),
        ("s3", "upload_part", "Access Denied", "s3:PutObject"),
        ("s3", "head_bucket", "", "s3:ListBucket"),
        ("s3", "list_objects_v2", "", "s3:ListBucket"),
        ("cloudfront", "create_invalidation", "", "cloudfront:CreateInvalidation"),
        ("cloudwatch", "get_metric_data", "", "cloudwatch:GetMetricData"),
        (
            "s3",
            "put_object",
            "User: arn:aws:iam::1:user/x is not authorized to perform: kms:GenerateDataKey on resource: y",
            "kms:GenerateDataKey",
        ),
    ],
)
def test_a_right_that_is_missing_is_named(service: str, operation: str, message: str, right: str) -> None:
    error = refused(Asked("aws", service, operation), Refusal("AccessDenied", message, 403))
    assert isinstance(error, MissingRight)
    assert f"allow {right} in its policy" in str(error)


def test_what_was_signed_is_not_repeated() -> None:
    message = "The Canonical String should have been 'x-amz-security-token:FwoGZXIvYXdzEBY'"
    assert "FwoGZXIvYXdzEBY" not in str(refused(PUT, Refusal("SignatureDoesNotMatch", message, 403)))


def test_a_foreign_message_is_one_line_of_bounded_length() -> None:
    assert short("a\r\nb\x1b[31m\tc") == "a b [31m c"
    assert len(short("x" * 10_000)) == LONGEST


def test_what_to_check_is_what_the_provider_has() -> None:
    r2 = Asked("cloudflare", "s3", "head_bucket")
    assert "cdn.cloudflare.access_key_id" in str(refused(r2, Refusal("InvalidAccessKeyId", "", 403)))
    assert "cdn.cloudflare.account_id" in str(refused(r2, Refusal("PermanentRedirect", "", 301)))
    assert "cdn.api_key" in str(refused(PUT, Refusal("InvalidAccessKeyId", "", 403)))
    assert "cdn.aws.region" in str(refused(PUT, Refusal("PermanentRedirect", "", 301)))
