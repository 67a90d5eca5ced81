"""The domain: types, planning, timeline, errors, settings. No I/O, no heavy import."""
