"""Support: questions to the operators of the site, from people with and without an account."""
