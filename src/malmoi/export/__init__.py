"""Other people's formats: what malmoi reads from them and writes for them."""
