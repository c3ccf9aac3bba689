"""Training data: pairs of texts, labelled images, held-out rows, mined hard negatives."""
