"""Chaos: a campaign is rendered while the parts of the farm are killed at random moments."""
