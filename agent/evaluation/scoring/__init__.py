"""Scoring functions: how good an answer is."""
