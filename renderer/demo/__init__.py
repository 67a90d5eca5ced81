"""The weights of the bundled demo model; training/demo made them."""
