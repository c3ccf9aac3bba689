"""Training recipes: text, image, image and text, and masked language modelling."""
