"""Llama Stack's experimental API."""
