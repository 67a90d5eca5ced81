"""The bundled demo model, from nothing to weights: `python -m training.demo.train`."""
