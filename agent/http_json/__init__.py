"""A2A over HTTP+JSON: the paths of 1.0 (its section 11) and, below ``/v1``, of 0.3 (its section 3.5.6)."""
