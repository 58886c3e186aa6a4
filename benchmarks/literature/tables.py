"""Print what the papers say beside what the ledgers hold, as Markdown.

    python benchmarks/literature/tables.py          # prints
    python benchmarks/literature/tables.py --docs   # writes the tables of docs/literature.md

Nothing is measured here: every figure is read from `results/`.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from adapters import means_apart
from ledger import ROOT, Difference, Ledger
from logme import SCORES, means_by_start, tau_with_interval

PAGE = ROOT / "docs" / "literature.md"
MARGIN = 0.02
"""Difference up to which two methods count as equal."""
ENOUGH = 20
"""Seeds that a smaller gap than that needs before anything is claimed of it."""
ENDS = {"accuracy": "", "in": ", in domain", "out": ", out of domain"}
DOMAINS = (
    (
        "mnist_m",
        "Ganin et al. 2016, table 2",
        "DANN is better than the source alone, MNIST to MNIST-M (76.7 against 52.3 %)",
        "higher",
    ),
    (
        "usps",
        "Tzeng et al. 2017, table 2",
        "gradient reversal is better than the source alone, MNIST to USPS (77.1 against 75.2 %)",
        "higher",
    ),
    (
        "amazon",
        "Ganin et al. 2016, table 1",
        "books to electronics, DANN is as good as a plain network (73.3 against 74.7 %)",
        "equal",
    ),
)
"""data set, paper, what it found, the sign of it"""
BEGIN, END = "<!-- tables begin -->", "<!-- tables end -->"


@dataclass(frozen=True)
class Line:
    """One comparison: what a paper found, and our paired difference.

    Args:
        expected: the sign that the paper found: `higher`, `lower` or `equal`.
    """

    paper: str
    found: str
    expected: str
    ours: Difference

    def __str__(self) -> str:
        return f"| {self.paper} | {self.found} | {self.ours} | {self.holds} |"

    @property
    def holds(self) -> str:
        """Say whether our seeds show the same."""
        seen = self.ours.holds
        if self.expected == "equal":
            if max(abs(self.ours.low), abs(self.ours.high)) <= MARGIN:
                return "yes, within 2 points"
            return "not separated" if seen == "not separated" else "**no**"
        if seen == "not separated":
            return "not separated"
        if abs(self.ours.mean) < MARGIN and self.ours.n < ENOUGH:
            return "not claimed: a gap of under 2 points from few seeds"
        return "yes" if seen == self.expected else "**no**"


def lines() -> list[Line]:
    """Return every comparison of which there are results."""
    recipes, domains = Ledger("recipes"), Ledger("out_of_domain")
    other, scratch = Ledger("other_reviews"), Ledger("from_scratch")
    ulmfit, kumar = "Howard and Ruder 2018, table 6", "Kumar et al. 2022, tables 1 and 2"
    found = [
        Line(
            ulmfit,
            "discriminative rates are better than `full` (TREC-6: 6.21 against 6.86 % error)",
            "higher",
            recipes.paired("layerwise", "full"),
        ),
        Line(
            ulmfit,
            "gradual unfreezing with discriminative rates is better than `full` (5.86, 6.86 %)",
            "higher",
            recipes.paired("unfreeze", "full"),
        ),
        Line(
            ulmfit,
            "gradual unfreezing alone is as good as `full` (6.86 % both)",
            "equal",
            recipes.paired("unfreeze, one rate", "full"),
        ),
        Line(
            kumar,
            "LP-FT is better than `full`, few rows in domain",
            "higher",
            recipes.paired("lp-ft", "full"),
        ),
    ]
    for a, b, what, figures, sign in (
        ("full", "probe", "in", "85.1 against 82.9 %", "higher"),
        ("full", "probe", "out", "59.3 against 66.2 %", "lower"),
        ("lp-ft", "full", "in", "85.7 against 85.1 %", "higher"),
        ("lp-ft", "full", "out", "68.9 against 59.3 %", "higher"),
    ):
        better = "better" if sign == "higher" else "worse"
        where = f"{what} domain" if what == "in" else f"{what} of domain"
        text = f"`{a}` is {better} than `{b}` {where} ({figures})"
        found.append(Line(kumar, text, sign, domains.paired(a, b, what)))
    clip = Ledger("clip_protocol")
    rows = clip.rows
    for data in dict.fromkeys(row["data"] for row in rows):
        clip.rows = [row for row in rows if row["data"] == data]
        found.append(
            Line(
                "Radford et al. 2021, appendix A.3",
                f"their sweep of 96 values of C finds a good penalty ({data}); our search as well",
                "equal",
                clip.paired("graft", "CLIP"),
            )
        )
    found += [
        Line(
            "Blitzer et al. 2007",
            f"training on other products costs accuracy (`{name}`, products to movies)",
            "lower",
            other.paired(f"{name} on products", f"{name} on movies"),
        )
        for name in ("probe", "full")
    ]
    found += [
        Line(
            "Howard and Ruder 2018, figure 3",
            f"transfer with {rows} rows beats the same network from scratch (`{name}`; scratch has "
            f"{more})",
            "higher",
            scratch.paired(label, rival),
        )
        for rival, more in (
            ("scratch", "480 rows and stays at chance"),
            ("scratch, 2,400 rows, rate 1e-4", "2,400 rows and converges"),
        )
        for name, rows, label in (
            ("full", 480, "full"),
            ("probe", 480, "probe"),
            ("probe", 48, "probe, 48 rows"),
        )
    ]
    for data, paper, what, sign in DOMAINS:
        ours = Ledger(f"domains_{data}").paired("dann", "source alone", "target")
        found.append(Line(paper, what, sign, ours))
    found += [*distilled(), *beside(), *convolutions()]
    return [line for line in found if line.ours.n > 1]


def distilled() -> list[Line]:
    """Return what a teacher is worth to students of digits; labels alone stand against it."""
    ledger = Ledger("distillation")
    students = dict.fromkeys(row["method"].partition(":")[0] for row in ledger.rows)
    return [
        Line(
            "Hinton et al. 2015, section 3",
            f"a teacher's softened answers are better than labels alone ({student}{more})",
            "higher",
            ledger.paired(f"{student}: logits{way}", f"{student}: labels alone"),
        )
        for student in students
        for way, more in (("", ""), (", other digits too", ", and digits without labels"))
    ]


def beside() -> list[Line]:
    """Return how small modules in a text network stand against training all of it."""
    ledger = Ledger("adapters")
    papers = {
        "bottleneck": (
            "Houlsby et al. 2019, table 1",
            "adapters are as good as `full` (80.0, 80.4)",
        ),
        "lora": ("Hu et al. 2022, table 2", "LoRA is as good as `full` (87.2 against 86.4)"),
        "bias": (
            "Ben Zaken et al. 2022, table 1",
            "biases alone are as good as `full` (82.3, 81.8)",
        ),
    }
    return [
        Line(paper, f"{what}: mean of three tables", "equal", means_apart(ledger, method))
        for method, (paper, what) in papers.items()
    ]


def convolutions() -> list[Line]:
    """Return how residual adapters of two picture networks stand against each other and `full`."""
    ledger = Ledger("residual")
    networks = dict.fromkeys(row["method"].partition(":")[0] for row in ledger.rows)
    rebuffi = "Rebuffi et al. 2018, table 1"
    return [
        Line(
            rebuffi, f"{what} ({network})", sign, ledger.paired(*(f"{network}: {m}" for m in pair))
        )
        for network in networks
        for what, sign, pair in (
            ("parallel adapters are better than series ones", "higher", ("parallel", "series")),
            ("parallel adapters come near to `full`", "equal", ("parallel", "full")),
        )
    ]


def starting_points() -> str:
    """Return how well scores of starting points order them by their fine-tuned accuracy."""
    shown = [
        "| pictures | score | weighted τ with fine-tuned accuracy (95 % interval) | of |",
        "|---|---|---|---|",
    ]
    for data in ("signdigits", "hymenoptera"):
        found = means_by_start(Ledger(f"logme_{data}").rows)
        for name in SCORES:
            if name in found and len(found[name]) > 2:
                tau = "{:.2f} ({:.2f} to {:.2f})".format(
                    *tau_with_interval(found[name], found["accuracy"])
                )
                shown.append(
                    f"| {data} | {name.replace('_', '-')} | {tau} | {len(found[name])} starts |"
                )
    return "\n".join(shown)


def means() -> str:
    """Return the mean of every method of every ledger."""
    shown = ["| experiment | method | seeds | mean | each seed |", "|---|---|---|---|---|"]
    names = (
        "recipes",
        "out_of_domain",
        "clip_protocol",
        "other_reviews",
        "from_scratch",
        "distillation",
        "adapters",
        "residual",
    )
    for name in (*names, *(f"domains_{data}" for data, *_ in DOMAINS)):
        rows = Ledger(name).rows
        for what in ("accuracy", "in", "out", "target", "source"):
            for key in dict.fromkeys((r.get("data", ""), r["method"]) for r in rows if what in r):
                values = [
                    r[what] for r in rows if what in r and (r.get("data", ""), r["method"]) == key
                ]
                label = " ".join(filter(None, (name.replace("_", " "), key[0])))
                label += ENDS.get(what, f", {what}")
                shown.append(_mean(label, key[1], values))
    return "\n".join(shown)


def _mean(label: str, method: str, values: Sequence[float]) -> str:
    each = ", ".join(f"{100 * v:.1f}" for v in values)
    mean = 100 * statistics.mean(values)
    return f"| {label} | `{method}` | {len(values)} | {mean:.1f} % | {each} |"


def main() -> None:
    table = [
        "| paper | what it found | ours: difference in points (95 % interval) | holds? |",
        "|---|---|---|---|",
        *map(str, lines()),
    ]
    text = (
        "\n".join(table)
        + "\n\n"
        + starting_points()
        + "\n\n## Every method, every seed\n\n"
        + means()
    )
    if "--docs" not in sys.argv:
        print(text)
        return
    page = PAGE.read_text(encoding="utf-8")
    head, tail = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
