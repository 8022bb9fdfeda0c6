"""What large commands do once they run; these files import plainly."""
