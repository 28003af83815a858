"""Daily reconciliation: an institution's day beside the centre's, and what differs."""
