"""Checkpoints: reading, loading into a model, saving."""
