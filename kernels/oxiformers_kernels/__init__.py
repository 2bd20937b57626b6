"""Fused Triton kernels for transformer models, each with a plain torch twin; one subpackage an op."""

__version__ = "0.1.0"
