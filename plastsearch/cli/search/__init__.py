"""Commands that search: what to try, what it costs, one trial of it."""
