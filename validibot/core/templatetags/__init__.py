"""Template tags that pages and mails share."""
