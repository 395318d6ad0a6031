"""Datasets: rows that evaluations and training are run on."""
