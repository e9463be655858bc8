"""One call to a provider, from its plan until the provider is done."""

from __future__ import annotations

from dataclasses import dataclass

from balancer.cdn.types import PurgeBatch


@dataclass(frozen=True, slots=True)
class Sending:
    """One call to a provider that is to be made, is under way, or is looked after until the provider is done."""

    id: str
    """Also what makes the call the same one when it is made again."""
    provider: str
    batch: PurgeBatch
    tickets: dict[str, tuple[str, ...]]
    """Whose it is: by their ids, the targets, as written there, that it is for. Nobody's: a second purge."""
    widen: bool = False
    """As ordered, should it have to be planned anew."""
    created: float = 0.0
    """Wall-clock time."""
    attempts: int = 0
    refused: int = 0
    """Attempts that the provider's rate limit refused, which are not among the others."""
    tried: float | None = None
    """Wall-clock time of the first attempt; or, with a `provider_id`, of the one that succeeded."""
    next_try: float = 0.0
    """Wall-clock time."""
    provider_id: str | None = None
    """The provider has taken it, and is asked how far it is."""
    polls: int = 0
    authorised: bool = True
    """False: the credential was refused once, which is believed the second time."""
