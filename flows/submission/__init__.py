"""Submitting films: plans, and the files that come with them."""
