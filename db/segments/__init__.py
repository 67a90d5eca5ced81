"""Segments: claimed, leased, done; and the takes that they share."""
