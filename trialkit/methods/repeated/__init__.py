"""Mixed models for repeated measures: likelihood, inference, results."""
