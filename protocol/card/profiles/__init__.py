"""One file a card type, named after its standard."""
