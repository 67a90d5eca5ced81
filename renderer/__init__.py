"""Rendering: from a `RenderJob` and conditioning frames to pictures, with torch and diffusers."""
