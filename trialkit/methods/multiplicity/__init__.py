"""Several hypotheses: adjusted p-values and graphs."""
