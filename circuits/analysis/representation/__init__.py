"""Hidden representations: clusters, embeddings, weight densities."""
