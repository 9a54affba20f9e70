"""Which files sources mean, and what they are made of: bytes, characters, lines, rows of tables."""
