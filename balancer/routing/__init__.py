"""From a request to the route it takes: matching, and what each route has worked out beforehand."""

from balancer.routing.table import Route, RouteTable, TwoWays, build_table

__all__ = ["Route", "RouteTable", "TwoWays", "build_table"]
