"""How components add up to a total."""
