"""What a provider cannot do is told with the settings that it takes."""

from __future__ import annotations

import pytest

from balancer.cdn.lacking import lacking
from balancer.cdn.types import Capability
from config.cdn import Cdn, CdnAws, CdnBunny, CdnCloudflare

URL = "https://cdn.example.com"


@pytest.mark.parametrize(
    ("settings", "capability", "told"),
    [
        (
            Cdn(provider="cloudflare", url=URL, cloudflare=CdnCloudflare(account_id="a")),
            Capability.UPLOAD,
            "cdn.cloudflare.bucket, cdn.cloudflare.access_key_id and cdn.cloudflare.secret_access_key",
        ),
        (Cdn(provider="cloudflare", url=URL), Capability.STATS, "cdn.api_key and cdn.cloudflare.zone_id"),
        (
            Cdn(provider="cloudflare", url=URL, api_key="k", cloudflare=CdnCloudflare(zone_id="z")),
            Capability.STATS,
            None,
        ),
        (Cdn(provider="aws", url=URL), Capability.LIST, "cdn.aws.bucket"),
        (Cdn(provider="aws", url=URL, aws=CdnAws(bucket="b")), Capability.STATS, "cdn.aws.distribution_id"),
        (
            Cdn(provider="bunny", url=URL, bunny=CdnBunny(storage_zone="z")),
            Capability.DELETE,
            "cdn.bunny.storage_password",
        ),
        (Cdn(provider="aws", url=URL), Capability.SOFT_PURGE, None),
        (Cdn(), Capability.IMAGES, None),
    ],
)
def test_the_settings_that_are_missing_are_named(settings: Cdn, capability: Capability, told: str | None) -> None:
    assert lacking(settings, capability) == told
