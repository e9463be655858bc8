"""Bounds on what is let through, as plain arithmetic."""
