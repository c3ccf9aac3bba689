"""Models to train: BERTs, image backbones, towers and nested heads."""
