"""Counting, timing, reporting and logging the stages."""
