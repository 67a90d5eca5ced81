"""Video files: encode, keep tails, probe, check, join, stills. The only runner of ffmpeg."""
