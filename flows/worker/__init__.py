"""A worker: claims segments, has a rendering process render them, stores and records the takes."""
