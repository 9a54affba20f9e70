"""Pages of the web -> their main text, in a process of its own."""
