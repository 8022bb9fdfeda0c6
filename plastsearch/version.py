"""Which plastsearch this is. Not in the root, which offers load_model and so leads to torch."""

__version__ = "0.1.0"
