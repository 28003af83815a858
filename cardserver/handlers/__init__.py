"""From a message to a decision and back, one file a family of messages."""
