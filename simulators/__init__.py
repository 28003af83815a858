"""The other ends: virtual cards, made-up cities, terminals under test, the auditor."""
