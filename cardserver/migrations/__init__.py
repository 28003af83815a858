"""The schema's history, one file a step, and the function that brings a database up to date."""
