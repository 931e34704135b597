"""The HTTP front: routes, errors, and what they stand on. Never imports torch, opens no slide."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from service import problems
from service.access.authentication import KeyCache
from service.contract.problem import Problem
from service.installation import Installation
from service.routes import scans
from service.settings import ServiceSettings

DESCRIPTION: Final = """\
Post a scan of a peripheral blood smear; get the leukocyte differential and the blast count.

**Research use only. Not for diagnostic use.** Every error is a problem document (RFC 9457) whose
`code` is one of a fixed list.
"""


def create_app(settings: ServiceSettings) -> FastAPI:
    """The app of an installation; connects when it starts, lets go when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        installation = Installation.open(settings)
        app.state.installation = installation
        app.state.key_cache = KeyCache(installation.keys)
        yield
        installation.close()

    app = FastAPI(
        title="smearscan",
        version=version("smearscan"),
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(scans.router)
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Have the OpenAPI document define what `problems.responses` refers to."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas["Problem"] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]
