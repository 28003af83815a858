"""`cardserver doctor`: what of a centre and its machine is not as it must be, and what to do."""
