"""Simulated cards: a file system with access conditions, and what puts it into a reader."""
