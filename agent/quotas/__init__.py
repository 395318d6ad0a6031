"""Limits on the tokens that users, and all of them together, may spend in a period."""
