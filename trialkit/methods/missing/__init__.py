"""Imputation of missing outcomes under stated assumptions."""
