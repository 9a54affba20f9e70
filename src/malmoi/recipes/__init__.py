"""Recipes: one file a paper."""
