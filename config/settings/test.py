"""Settings of the test suite."""

SECRET_KEY = "test"
