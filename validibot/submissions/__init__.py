"""What was sent to be validated."""
