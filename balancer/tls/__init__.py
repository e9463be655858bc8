"""TLS: certificates as they are on disk, and what a listener speaks with them."""
