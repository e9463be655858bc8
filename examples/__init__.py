"""Things to run beside the balancer: a sample site, traffic for it, and a demonstration of both."""
