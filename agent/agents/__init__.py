"""Agents, sessions, turns and steps: Llama Stack's agents API, over the contexts and tasks of A2A."""
