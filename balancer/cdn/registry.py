"""Providers by the configuration. Each is imported when it is asked for, as some need packages of their own."""

from __future__ import annotations

from balancer.cdn.errors import ConfigError
from balancer.cdn.provider import CdnProvider
from config.cdn import Cdn


def make_provider(settings: Cdn) -> CdnProvider:
    """The provider of these settings, not yet started. ConfigError: something that it needs is missing."""
    if settings.provider == "local":
        from balancer.cdn.local.make import make_local

        return make_local(settings)
    if settings.provider == "cloudflare":
        from balancer.cdn.cloudflare.provider import Cloudflare

        return Cloudflare(settings)
    if settings.provider == "bunny":
        from balancer.cdn.bunny.provider import Bunny

        return Bunny(settings)
    if settings.provider == "aws":
        from balancer.cdn.aws.provider import AwsProvider

        return AwsProvider(settings)
    raise ConfigError(f"there is no provider {settings.provider}", provider=settings.provider)
