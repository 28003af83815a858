"""The fund's money: accounts, entries, postings, balances and periods."""
