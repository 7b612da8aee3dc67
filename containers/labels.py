"""The labels by which containers and networks of ours are told from everybody else's."""

MANAGED = "io.validibot.managed"
OWNER = "io.validibot.owner"
NAME = "io.validibot.name"


def ours(owner: str) -> dict[str, str]:
    return {MANAGED: "true", OWNER: owner}


def of_owner(owner: str) -> dict[str, list[str]]:
    """Return the filter that finds what has these labels."""
    return {"label": [f"{name}={value}" for name, value in ours(owner).items()]}
