"""`/healthz`, `/readyz`, `/metrics`: for orchestrators, not for patients' data; no key is asked."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.access.authentication import Served
from service.contract.health import Health, PartHealth
from service.health import examine
from service.metrics import write_metrics

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Health:
    """Whether this process answers."""
    return Health(ready=True, parts=())


@router.get("/readyz", responses={503: {"model": Health, "description": "Not ready"}})
def readyz(served: Served, response: Response) -> Health:
    """Whether slides can be taken and analysed: store, queue, a worker, a loaded model."""
    parts = tuple(
        PartHealth(name=check.name, ready=check.ok, detail=check.detail)
        for check in examine(served)
    )
    ready = all(part.ready for part in parts)
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return Health(ready=ready, parts=parts)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(served: Served) -> Response:
    """Prometheus metrics, text format."""
    return Response(write_metrics(served), media_type=CONTENT_TYPE_LATEST)
