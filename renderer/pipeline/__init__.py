"""A diffusers pipeline: loaded, called, and made to fit the memory."""
