"""Hard negatives, edited documents and perturbed queries from the inputs of an audit."""
