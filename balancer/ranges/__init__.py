"""The networks of CDNs that `trusted_proxies` names: shipped, kept on disk, and fetched anew in the background."""
