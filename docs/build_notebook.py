"""Write and run ``docs/tipping-point.ipynb``: from a CSV to a tipping point.

``make docs`` calls it; a test runs the notebook again and compares the tables.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbclient
import nbformat

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE / "tipping-point.ipynb"
TEXT = "markdown"
CODE = "code"
CELLS: list[tuple[str, str]] = [
    (
        TEXT,
        """# What if those who stopped did worse?

A trial of walking speed (made up: `data/make.py`): 150 people, robotic or conventional training,
visits at weeks 4, 8 and 12. Some stop their training, and most of those are not measured again.
The primary analysis takes missing visits as missing at random. How much worse would the missing
robotic-arm values have to be before the conclusion falls?""",
    ),
    (
        CODE,
        """import pandas as pd

from trialkit.methods import ancova, impute, mmrm

trial = pd.read_csv("data/walking-speed.csv")
trial["AVISIT"] = pd.Categorical(trial["AVISIT"], ["W4", "W8", "W12"])
seen = trial.groupby(["TRT01P", "AVISIT"], observed=True)["AVAL"]
seen.agg(["size", "count", "mean"]).round(3)""",
    ),
    (TEXT, "The primary analysis: unstructured covariance, REML, Kenward-Roger (linear)."),
    (
        CODE,
        """formula = "AVAL ~ BASE*AVISIT + STRATUM + TRT01P*AVISIT"
fit = mmrm(formula, trial, subject="USUBJID", visit="AVISIT")
fit.contrast("TRT01P", reference="Conventional", by="AVISIT").round(4)""",
    ),
    (CODE, 'fit.plot("TRT01P");'),
    (
        TEXT,
        """Jump to reference: from the visit at which they stopped, people of the robotic arm go
on as those of the conventional arm with their history. Conditional means with the jackknife need
no random numbers.""",
    ),
    (
        CODE,
        """stopped = trial.dropna(subset="STOPVIS").drop_duplicates("USUBJID")
ice = stopped[["USUBJID", "STOPVIS"]].rename(columns={"STOPVIS": "AVISIT"})
columns = {"outcome": "AVAL", "subject": "USUBJID", "visit": "AVISIT", "group": "TRT01P"}
jump = {"ice": ice, "strategy": "jump_to_reference", "reference": "Conventional"}
imputed = impute(trial, **columns, covariates=["BASE*AVISIT", "STRATUM"], **jump)
model = "AVAL ~ BASE + STRATUM + TRT01P"
imputed.pool(ancova, model, at="W12").table.round(4)""",
    ),
    (
        TEXT,
        """And worse than that: a penalty (m/s) is added to every imputed value of the robotic arm
until the comparison is no longer significant.""",
    ),
    (
        CODE,
        """deltas = [-0.02 * step for step in range(11)]
tipping = imputed.tipping(ancova, model, at="W12", deltas={"Robotic": deltas})
tipping.plot();""",
    ),
    (CODE, "tipping.table.round(4)"),
]


def build() -> nbformat.NotebookNode:
    """Return the notebook without output."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    for number, (kind, text) in enumerate(CELLS):
        make = nbformat.v4.new_markdown_cell if kind == TEXT else nbformat.v4.new_code_cell
        cell = make(text)
        cell["id"] = f"cell-{number}"
        notebook.cells.append(cell)
    return notebook


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Run a notebook in the folder of the documents."""
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}
    )
    done = client.execute()
    for cell in done.cells:
        cell.metadata.clear()  # times of the run
    done.metadata.pop("language_info", None)
    return done


def main() -> None:
    """Write the notebook with its output."""
    nbformat.write(run(build()), NOTEBOOK)
    sys.stderr.write(f"{NOTEBOOK.name}\n")


if __name__ == "__main__":
    main()
