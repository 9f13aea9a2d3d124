"""A local caching mirror and offline query engine for Weights & Biases."""

__version__ = "0.1.0.dev0"
