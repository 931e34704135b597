"""The intake behind real HTTP: a uvicorn process with as little around it as possible.

python tests/integration/intake/server.py DATA PORT LIMITS(JSON)
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse

from service.intake.errors import IntakeError
from service.intake.intake import Intake
from service.intake.limits import IntakeLimits
from service.intake.receive import receive_slide
from service.intake.tus import make_router
from service.layout import DataRoot


def make_app(intake: Intake) -> FastAPI:
    app = FastAPI()

    @app.exception_handler(IntakeError)
    async def _problem(_request: Request, err: IntakeError) -> Response:
        body = {"code": err.code, "detail": err.message}
        return JSONResponse(body, err.status, headers=err.headers)

    @app.post("/slides")
    async def _slides(request: Request) -> dict[str, Any]:
        received = await receive_slide(request, intake)
        metadata = received.metadata
        return {
            "sha256": received.slide.sha256,
            "size_bytes": received.slide.size_bytes,
            "already_stored": received.slide.already_stored,
            "metadata": metadata.decode() if metadata is not None else None,
            "filename": received.filename,
        }

    @app.get("/status")
    async def _status() -> dict[str, str]:
        return {"state": "queued"}

    def _owner(authorization: Annotated[str, Header()] = "key-1") -> str:
        return authorization

    @app.get("/uploads/{upload_id}")
    async def _found(upload_id: str, owner: Annotated[str, Depends(_owner)]) -> dict[str, Any]:
        found = await intake.run(intake.uploads.find_upload, upload_id, owner)
        return {"sha256": found.sha256, "size_bytes": found.size_bytes}

    app.include_router(make_router(intake, _owner))
    return app


def main() -> None:
    data, port, limits = sys.argv[1:]
    root = DataRoot(Path(data))
    root.make()
    intake = Intake(root, IntakeLimits(**json.loads(limits)))
    uvicorn.run(make_app(intake), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
