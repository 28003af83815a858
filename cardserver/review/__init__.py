"""Review of settlements: acceptance, calculation and audit, kept apart."""
