"""Cloud Run services: the front end of run.app that authorises and forwards requests."""
