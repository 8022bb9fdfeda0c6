"""Commands for a sweep on a cluster."""
