"""The card transaction centre."""
