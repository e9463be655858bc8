"""Fuzzing of the parsers and of whole connections; see README.md."""
