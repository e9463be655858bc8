"""A reverse-proxy load balancer: its data path, its policies, and the control that steers them."""

__version__ = "0.1.0"
