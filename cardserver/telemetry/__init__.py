"""The centre's side of the message broker: terminals' states in, news out."""
