"""Cloud Storage: buckets and objects over the JSON and XML APIs."""
