"""Commands for what sweeps read and keep."""
