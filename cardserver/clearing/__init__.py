"""Monthly clearing: what institutions are owed for a month, held back, deducted and paid."""
