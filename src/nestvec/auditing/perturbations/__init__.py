"""Hard negatives, edited documents and perturbed queries, made from the inputs of an audit."""
