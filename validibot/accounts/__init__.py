"""Users, organisations, their members and roles, projects and API keys."""
