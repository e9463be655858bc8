"""Tests, in the shape of the tree they test; what several of them need is imported from here by name."""
