"""Weights on disk: reading safetensors checkpoints and saving them.

Importing this package does not import torch; its modules do.
"""
