"""What a person sees in a browser: the built page, or a form where it was not built."""

import html
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from edgemotion.errors import EdgemotionError

# Without these a browser gives WebAssembly one thread.
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
SAFETY = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>edgemotion</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; }}
  form {{ display: grid; gap: 1rem; justify-items: start; }}
  input, button {{ font: inherit; }}
  button {{ padding: .5rem 1.25rem; }}
  small {{ opacity: .75; }}
</style>
<h1>edgemotion</h1>
<p>One face, cut out, as JPEG, PNG or WebP. Model {name}, {version}.</p>
<form method="post" action="infer_form" enctype="multipart/form-data">
  <label>Image <input type="file" name="file" accept="image/jpeg,image/png,image/webp" required></label>
  <button>Read the expression</button>
</form>
<p><small>{notice}</small></p>
</html>
"""


class IsolatedFiles(StaticFiles):
    """Static files with the headers that let WebAssembly use threads; a browser asks for a changed file again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(ISOLATION | SAFETY | {"Cache-Control": "no-cache"})
        return response


def mount(app: FastAPI, page: Path | None) -> None:
    """Add /infer_form's form, and at / the built page or a redirect to the form; EdgemotionError for no built page."""

    @app.get("/infer_form", response_class=HTMLResponse, tags=["predict"])
    async def form(request: Request) -> HTMLResponse:
        """A form for POST /infer_form."""
        engine = request.app.state.engine
        content = FORM.format(
            name=html.escape(engine.variant.name), version=engine.version[:12], notice=html.escape(app.description)
        )
        return HTMLResponse(
            content,
            headers=SAFETY
            | {
                "Content-Security-Policy": "default-src 'none'; "
                "style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
            },
        )

    if page is None:

        @app.get("/", include_in_schema=False)
        async def start() -> RedirectResponse:
            return RedirectResponse("infer_form")

        return
    if not (page / "index.html").is_file():
        raise EdgemotionError(f"{page / 'index.html'} is missing; build the page with `invoke page`")
    # Last, because it answers every path that no route before it does.
    app.mount("/", IsolatedFiles(directory=page, html=True))
