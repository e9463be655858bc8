"""Answers that are compressed on their way to the client: which, how, and what their heads then say."""

from balancer.compression.coders import SLICE, Coder, coder, compress
from balancer.compression.negotiation import DESCRIBING, Compression, Prepared
from balancer.compression.packing import Packing, packing

__all__ = ["DESCRIBING", "SLICE", "Coder", "Compression", "Packing", "Prepared", "coder", "compress", "packing"]
