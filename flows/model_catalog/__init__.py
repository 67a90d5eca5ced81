"""The models that a farm renders with: their names, revisions and weights."""
