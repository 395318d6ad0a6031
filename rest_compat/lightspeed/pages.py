"""``/docs`` and ``/redoc``: the OpenAPI document as pages, whose scripts come from elsewhere."""

from html import escape

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse

OPENAPI = "/openapi.json"
# Other answers may load nothing. These load what FastAPI's pages do, into which callers put nothing.
POLICY = (
    "default-src 'none'; "
    "script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    "worker-src blob:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def make_pages(title: str) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(include_in_schema=False)
    # FastAPI writes it into the page as it is.
    title = escape(title)

    @router.get("/docs")
    async def docs(request: Request) -> HTMLResponse:
        page = get_swagger_ui_html(openapi_url=_document(request), title=title)
        return _with_policy(page)

    @router.get("/redoc")
    async def redoc(request: Request) -> HTMLResponse:
        page = get_redoc_html(openapi_url=_document(request), title=title, with_google_fonts=False)
        return _with_policy(page)

    return router


def _document(request: Request) -> str:
    prefix: str = request.scope.get("root_path", "")
    return prefix.rstrip("/") + OPENAPI


def _with_policy(page: HTMLResponse) -> HTMLResponse:
    page.headers["Content-Security-Policy"] = POLICY
    return page
