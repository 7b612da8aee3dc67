"""The generator of the OpenAPI document.

That of drf-spectacular imports Django's test client and Jinja, a fifth of what the public service takes
to start. Views therefore only note what they declare (`api.base.operation`), and this module is imported
when somebody asks for the document.
"""

from collections.abc import Callable
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema

from validibot.api.base import DECLARATION


class DeclaredOperations(SchemaGenerator):
    """A generator that reads what `operation` noted on the methods of views."""

    def create_view(self, callback: Any, method: str, request: Any = None) -> Any:
        view = super().create_view(callback, method, request)  # type: ignore[no-untyped-call]
        declared = getattr(getattr(view, method.lower()), DECLARATION, None)
        if declared is not None:
            # The decorator leaves the class of the schema on the function that it gets.
            decorated: Any = extend_schema(**declared)(_operation())
            self._set_schema_to_view(view, decorated.kwargs["schema"]())  # type: ignore[no-untyped-call]
        return view


def _operation() -> Callable[[], None]:
    """Return a function of its own for each operation: the methods themselves stay as they are."""
    return lambda: None


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """API keys are bearer tokens."""

    target_class = "validibot.api.auth.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "vbk_1_…"}
