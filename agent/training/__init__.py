"""Fine-tuning of small models, in a process of its own."""
