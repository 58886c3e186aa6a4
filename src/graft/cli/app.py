"""The tree of commands.

The verbs' files are imported here, so that `graft --help` shows their summaries; they import what
takes long only when they are called.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from graft.cli.compare import compare
from graft.cli.convert import convert
from graft.cli.doctor import doctor
from graft.cli.embed import embed
from graft.cli.environment import environment
from graft.cli.evaluate import evaluate
from graft.cli.export import export
from graft.cli.index import index
from graft.cli.interpolate import interpolate
from graft.cli.plan import plan
from graft.cli.predict import predict
from graft.cli.rank import rank
from graft.cli.report import report
from graft.cli.rerun import rerun
from graft.cli.search import search
from graft.cli.sweep import sweep
from graft.cli.train import train

app = App(
    name="graft",
    help="""Adapt pretrained networks to your own data.

    Start with `graft train tickets.csv`: a table of texts with a label column, or a folder with one
    subfolder of images per class. `graft plan` shows what would be trained, before it is.
    """,
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(train, name="train")
app.command(doctor, name="doctor")
app.command(plan, name="plan")
app.command(rank, name="rank")
app.command(sweep, name="sweep")
app.command(predict, name="predict")
app.command(evaluate, name="evaluate")
app.command(embed, name="embed")
app.command(index, name="index")
app.command(search, name="search")
app.command(compare, name="compare")
app.command(convert, name="convert")
app.command(export, name="export")
app.command(interpolate, name="interpolate")
app.command(environment, name="environment")
app.command(rerun, name="rerun")
app.command(report, name="report")


@app.command(name="list")
def list_(
    what: str = "methods",
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """List what graft knows: methods, heads, models' sources, tasks and more.

    Parameters
    ----------
    what
        methods, heads, sources, tasks, objectives, augmentations or readers.
    as_json
        Print names and summaries as JSON.
    """
    from graft.cli.show import show_table

    show_table(what, as_json=as_json)
