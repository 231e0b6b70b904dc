"""Sample size and power in closed form."""
