"""A user's module with a mistake in it."""

PRICES = {"small": 1}
DEAREST = PRICES["large"]
