"""Claims, their lines, and the accumulators that they move."""
