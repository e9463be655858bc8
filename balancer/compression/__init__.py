"""Answers that are compressed on their way to the client: which, how, and what their heads then say."""

from balancer.compression.coders import Coder, Room, coder, compress
from balancer.compression.negotiation import Compression

__all__ = ["Coder", "Compression", "Room", "coder", "compress"]
