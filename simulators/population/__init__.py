"""Made-up cities: everyone and everything a fund's registry holds, from a seed."""
