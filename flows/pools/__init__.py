"""Workers that a work pool of Prefect places on machines."""
