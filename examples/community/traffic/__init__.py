"""A little traffic for the sample site, as a few dozen people would make it."""
