"""The commands of `cardterminal`, one noun a file."""
