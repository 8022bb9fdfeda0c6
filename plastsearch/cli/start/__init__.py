"""Commands to begin with: is this machine fit, a first space, and help for editors and shells."""
