"""Sets of images with classes, which networks are trained on and evaluated on."""
