"""A small community site to put behind the balancer: several processes that share one SQLite file."""
