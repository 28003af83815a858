"""Card readers, real and attached."""
