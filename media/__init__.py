"""Video files: encode, keep tails, probe, check, join. The only runner of ffmpeg."""
