"""Whether a card is to be trusted."""
