"""`plastsearch demo`: a page on this machine to try a model on."""

from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.words import printable


def demo(
    model: options.ModelName,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Of this machine; 0 for any that is free.")] = 7860,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page at once.")] = True,
    device: options.Device = "auto",
) -> None:
    """Drop or record a clip in the browser and see score, timeline and spectrum; nobody else can reach the page.

    Example: plastsearch demo runs/w2v_layers:best
    """
    import webbrowser

    from plastsearch.demo.server import DemoServer
    from plastsearch.use.load import load

    loaded = load(model, device)
    with DemoServer(loaded, port) as server:
        typer.echo(f"{printable(str(loaded))}\nOpen {server.url} (Ctrl-C ends it)")
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("ended")
