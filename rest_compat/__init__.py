"""REST dialects over the same service: none in this version yet."""
