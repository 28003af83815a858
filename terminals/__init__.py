"""What runs at a counter: readers, client, outbox, receipts and the command line."""
