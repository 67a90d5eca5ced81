"""Films and campaigns: inserted, claimed, listed, changed by users."""
