"""Template filter that puts codes of the API into words."""

from django import template

from validibot.core.words import word_of

register = template.Library()


@register.filter
def word(code: str) -> str:
    """Return the word for a state, a result or a severity."""
    return word_of(code)
