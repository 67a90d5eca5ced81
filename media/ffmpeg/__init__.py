"""The ffmpeg program: found, run, and given frames."""
