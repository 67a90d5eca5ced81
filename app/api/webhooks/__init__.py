"""Webhooks: notes to other programs that a film is finished."""
