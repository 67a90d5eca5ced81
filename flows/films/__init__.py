"""Films: claimed, run as flows of Prefect, stitched and delivered."""
