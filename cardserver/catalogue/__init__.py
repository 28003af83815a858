"""What the fund pays for: drugs, services and consumables, their classes, ratios and limits."""
