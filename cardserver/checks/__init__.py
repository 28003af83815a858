"""Checks at the counter: what makes a purchase doubtful, as rules that are data."""
