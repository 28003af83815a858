"""Insurance rules: policies and the splitting of a bill."""
