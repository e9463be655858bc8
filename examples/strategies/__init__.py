"""Strategies of one's own, in about ten lines each."""
