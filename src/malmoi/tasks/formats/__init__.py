"""Readers of official files: a folder or a file as it was published -> `Splits`."""
