"""What the database holds in the long run: parts by month, replies that expire, sizes."""
