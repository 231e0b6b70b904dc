"""Puts this folder on the path, for what the tests of devices share."""
