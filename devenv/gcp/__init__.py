"""The emulated Google Cloud: services that know only the common ground, and their one server."""
