"""Training recipes: text, image, pairs of two kinds (clip), and masked language modelling."""
