"""Prefect: its server, and the runs in it that show what the database knows."""
