"""Counts with exposure."""
