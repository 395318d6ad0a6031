"""Calling URLs that somebody else chose, without being led into the own network."""
