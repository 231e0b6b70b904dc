"""Linear models of one visit."""
