"""The commands of `cardserver`, one noun a file; `cardserver/cli.py` registers them."""
