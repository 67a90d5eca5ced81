"""The rendering process: receives jobs through a pipe, and writes files."""
