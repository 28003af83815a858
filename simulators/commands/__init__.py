"""The commands of `cardsim`, one noun a file; `simulators/cli.py` registers them."""
