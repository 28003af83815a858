"""The wire protocol between a terminal and the centre."""
