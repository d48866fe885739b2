"""The command line `edgemotion`: the champion on images, films, a camera or behind HTTP; no training needed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import numpy as np
import typer

from edgemotion.errors import EdgemotionError
from edgemotion.runtime.champion import SHIPPED

app = typer.Typer(
    help="Facial emotions on edge devices, by a small quantized network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Champion = Annotated[
    Path, typer.Option(help="Folder with model.onnx, model_info.json and card.json.", show_default="the shipped one")
]
FacesFile = Annotated[
    Path | None, typer.Option(help="YuNet's ONNX file.", show_default="EDGEMOTION_FACES or the downloaded one")
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of one inference.")]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A bad input ends in one line on stderr and exit code 1."""
    try:
        yield
    except EdgemotionError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def check_writable(*targets: Path | None) -> None:
    """Refuse a place where no file can be written before the work that would be lost with it."""
    for target in filter(None, targets):
        try:
            why = "it is a folder" if target.is_dir() else None
            target.parent.mkdir(parents=True, exist_ok=True)
            # Like the name under which a file is written before it is whole, it is longer than the file's own.
            with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}."):
                pass
        except (FileExistsError, NotADirectoryError):
            why = "a part of its path is a file"
        except OSError as error:
            why = error.strerror
        if why:
            raise EdgemotionError(f"{target} cannot be written: {why}; name another place")


@app.command()
def predict(
    source: Annotated[Path, typer.Argument(help="An image, a folder of images or a film.")],
    scene: Annotated[bool, typer.Option(help="Find the faces first; else an image is one face crop.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="A .csv or .parquet file.", show_default="predictions.csv for a folder or film")
    ] = None,
    champion: Champion = SHIPPED,
    faces: FacesFile = None,
    threads: Threads = 1,
) -> None:
    """Name the emotion of a face, or of every face of a folder or film."""
    from edgemotion.runtime.table import Reader, read_source, show, write_table

    with one_line_errors():
        reader = Reader(champion, faces, scene, threads)
        rows, several = read_source(source, reader)
        if several or output:
            target = output or Path("predictions.csv")
            check_writable(target)
            typer.echo(f"{write_table(target, rows, reader.columns)} faces in {target}")
        else:
            for row in rows:
                typer.echo(show(row, reader))


@app.command()
def camera(
    source: Annotated[
        str, typer.Argument(help="A camera's number, device or address, a film, or `synthetic`: rendered faces.")
    ] = "0",
    film: Annotated[Path | None, typer.Option(help="Write the drawn frames to this .mp4.")] = None,
    table: Annotated[Path | None, typer.Option(help="Write a row a face to this .csv.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the figures to this .json.")] = None,
    lines: Annotated[bool, typer.Option(help="Print each frame's faces at once, as a line of JSON.")] = False,
    show: Annotated[bool, typer.Option(help="Open a window; needs an OpenCV that has windows.")] = False,
    limit: Annotated[int | None, typer.Option(help="Stop after so many frames.")] = None,
    real_time: Annotated[bool, typer.Option(help="Play a film as a camera would, dropping frames.")] = False,
    detect_every: Annotated[int, typer.Option(min=1, help="Look for faces in every n-th frame only.")] = 1,
    champion: Champion = SHIPPED,
    faces: FacesFile = None,
    threads: Threads = 1,
) -> None:
    """Read the faces before a camera until Ctrl-C; tell frames a second, latency and, where known, accuracy."""
    from edgemotion.camera import describe, main

    with one_line_errors():
        check_writable(film, table, report)
        made = main(
            source,
            champion=champion,
            faces=faces,
            film=film,
            table=table,
            report=report,
            lines=sys.stdout if lines else None,
            show=show,
            limit=limit,
            real_time=real_time,
            detect_every=detect_every,
            threads=threads,
        )
        typer.echo(describe(made), err=lines)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    champion: Champion = SHIPPED,
    faces: FacesFile = None,
    page: Annotated[Path | None, typer.Option(help="The browser page that `invoke page` built.")] = None,
    threads: Threads = 1,
    workers: Annotated[int, typer.Option(min=1, help="Requests decoded and inferred at once.")] = 2,
    max_bytes: Annotated[int, typer.Option(min=1, help="Of a request.")] = 10_000_000,
    max_pixels: Annotated[int, typer.Option(min=1, help="Of all images of a request together.")] = 25_000_000,
    max_batch: Annotated[int, typer.Option(min=1, help="Images of a request.")] = 64,
    max_requests: Annotated[int, typer.Option(min=1, help="Received or answered at once; more get 503.")] = 64,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to receive and answer a request.")] = 30.0,
    api_key: Annotated[
        str | None, typer.Option(envvar="EDGEMOTION_API_KEY", help="Wanted in X-API-Key.", show_envvar=True)
    ] = None,
    cors: Annotated[list[str] | None, typer.Option(help="An origin whose pages may call; repeatable.")] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Answer over HTTP; /docs describes the API."""
    with one_line_errors():
        try:
            from edgemotion.serve.app import create_app
            from edgemotion.serve.connection import limited
            from edgemotion.serve.guard import log_as_json
        except ModuleNotFoundError as error:
            raise EdgemotionError(f"{error.name} is not installed; install edgemotion[serve]") from None
        import uvicorn

        from edgemotion.serve.options import Options

        options = Options(
            champion=champion,
            faces=faces,
            page=page,
            threads=threads,
            workers=workers,
            max_bytes=max_bytes,
            max_pixels=max_pixels,
            max_batch=max_batch,
            max_requests=max_requests,
            timeout_s=timeout,
            api_key=api_key,
            cors=cors or [],
        )
        log_as_json(log_level)
        application = create_app(options)
    uvicorn.run(
        application,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        http=limited(timeout),
        # A frame of a film that is only a little too large is told so, a larger one ends the connection.
        ws_max_size=max_bytes + 65_536,
        # Images gain nothing by it, and a small message could inflate to a thousand times its size.
        ws_per_message_deflate=False,
        # Open connections have as long to end as a request may take.
        timeout_graceful_shutdown=round(timeout) + 1,
    )


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="A variant or champion folder.")] = SHIPPED) -> None:
    """Check a model's checksum, its graph against its record, and that it answers."""
    from edgemotion.runtime.verification import verify as check

    with one_line_errors():
        for line in check(folder):
            typer.echo(line)


@app.command()
def bench(
    folders: Annotated[list[Path] | None, typer.Argument(help="Variant folders, the first is the reference.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Of all models in turn.")] = 500,
    threads: Threads = 1,
) -> None:
    """Time models on this device, interleaved: the same model is up to twice slower beside others."""
    from edgemotion.measure import latency
    from edgemotion.measure.environment import describe
    from edgemotion.runtime.classifier import open_session
    from edgemotion.runtime.variant import load_variant

    with one_line_errors():
        variants = {str(folder): load_variant(folder) for folder in folders or [SHIPPED]}
        shapes = {(variant.height, variant.width, variant.channels) for variant in variants.values()}
        if len(shapes) > 1:
            raise EdgemotionError(f"the models take images of different sizes: {shapes}; time them one by one")
        images = np.random.default_rng(0).integers(0, 256, (32, 1, *shapes.pop()), np.uint8)
        calls = {name: latency.runner(open_session(variant.model_path, threads)) for name, variant in variants.items()}
        with latency.pinned(threads):
            times = latency.interleave(calls, list(images), rounds, warmup=20)
        machine = describe(threads)
        typer.echo(f"{machine['cpu']}, {threads} thread(s), int8 instructions: {', '.join(machine['flags']) or 'none'}")
        reference = next(iter(times))
        for name, measured in times.items():
            milliseconds = (f"{key[:-3]} {value:.3f} ms" for key, value in latency.percentiles(measured).items())
            ratio = latency.speedup(times[reference], measured, seed=0)
            low, high = ratio["speedup_ci"]
            typer.echo(
                f"{name}: {', '.join(milliseconds)}, {ratio['speedup']:.2f}x [{low:.2f}, {high:.2f}] of the first"
            )


@app.command()
def faces() -> None:
    """Download the face detector YuNet (233 kB, MIT licence) and check its SHA-256."""
    from edgemotion.runtime.faces import download_yunet

    with one_line_errors():
        typer.echo(download_yunet())


if __name__ == "__main__":
    sys.exit(app())
