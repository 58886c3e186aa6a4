"""The tree of commands."""

from __future__ import annotations

from cyclopts import App

app = App(
    name="graft",
    help="""Adapt pretrained networks to your own data.

    Start with `graft train tickets.csv`: a table of texts with a label column, or a folder with one
    subfolder of images per class. `graft plan` shows what would be trained, before it is.
    """,
    version_flags=["--version"],
    result_action="return_value",
)
app.command("graft.cli.train:train", name="train")
app.command("graft.cli.plan:plan", name="plan")
app.command("graft.cli.predict:predict", name="predict")
app.command("graft.cli.evaluate:evaluate", name="evaluate")


@app.command(name="list")
def list_(what: str = "methods", /) -> None:
    """List what graft knows: methods, heads, sources, tasks, objectives or readers.

    Parameters
    ----------
    what: methods, heads, sources, tasks, objectives or readers.
    """
    from graft.cli.show import show_table

    show_table(what)
