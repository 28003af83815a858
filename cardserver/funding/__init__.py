"""Contributions, allotments, interest: what fills personal accounts and the pool."""
