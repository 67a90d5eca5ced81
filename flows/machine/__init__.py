"""This machine: its processes, GPUs and temporary files."""
