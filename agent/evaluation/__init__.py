"""Evaluations: benchmarks, candidates, scores."""
