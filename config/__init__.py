"""How a deployment of Validibot is wired: settings, URLs and server entry points; no logic."""
