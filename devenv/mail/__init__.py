"""A mail catcher: SMTP in, a page and Mailpit's REST API out; nothing is ever sent on."""
