"""Cloud Storage: buckets and objects with generations and preconditions."""
