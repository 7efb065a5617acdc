"""From numbers to SHIP, DO NOT SHIP or NOT PROVEN."""
