"""Group-sequential designs."""
