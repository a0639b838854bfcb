"""The edge: ASGI, routes, limits, errors -> status, health, metrics, the access log. The only package that speaks HTTP."""

from __future__ import annotations
