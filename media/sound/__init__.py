"""Sound: files, soundtracks and loudness."""
