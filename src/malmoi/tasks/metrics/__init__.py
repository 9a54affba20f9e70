"""Metrics as the official scorers compute them: `metric(examples, predictions)` -> named numbers, shares in 0..1."""
