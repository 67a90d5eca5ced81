"""Workers: registered, placed by work pools, and what none of them can render."""
