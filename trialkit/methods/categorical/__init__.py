"""Binary and ordinal outcomes."""
