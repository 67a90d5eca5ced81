"""Weights of models: on the hub, on this machine, and what is in their files."""
