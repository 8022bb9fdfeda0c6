"""Commands for a model that was found."""
