"""The route of the Model Context Protocol endpoint."""

from django.urls import path

from validibot.mcp.views import McpView

urlpatterns = [path("", McpView.as_view())]
