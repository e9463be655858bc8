"""Measurements, read as `README.md` says: the balancer beside other proxies, and its hot functions."""
