"""The result of an MMRM: coefficients, covariance, LS-means, contrasts, F tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from trialkit.methods import _marginal, _type3
from trialkit.methods._design import Design
from trialkit.methods._marginal import FTest
from trialkit.methods.repeated.df import DF_METHODS, MmrmInference
from trialkit.methods.repeated.empirical import SE_METHODS, Rows
from trialkit.methods.repeated.likelihood import Likelihood, Optimum
from trialkit.methods.repeated.reading import Readings, tied_words
from trialkit.methods.repeated.structures import STRUCTURES

LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class MMRMFit(Readings):
    """A fitted mixed model for repeated measures.

    Beside the fields of ``FormulaFit``:

    Parameters
    ----------
    variant : str
        Covariance, estimation and degrees of freedom in words.
    minus2_loglik : float
        -2 (restricted) log-likelihood with its constant, as SAS prints it; NaN if failed.
    n_parameters : int
        Covariance parameters.
    iterations : int
        Newton iterations.
    covariance : DataFrame
        Estimated covariance of the visits; with groups a row index (group, visit).
    aliased : list of str
        Columns dropped as linear combinations of others.
    design : Design
        The model matrix.
    inference : MmrmInference or None
        Estimates and their precision; None if failed.
    options : dict
        Column names given.
    structure : str
        Covariance structure of this fit, such as ``us``; after a fallback the one that converged.
    df, se : str
        Degrees of freedom and standard errors used.
    fallbacks : tuple of (str, str)
        Structures that were tried before and failed, with the reason.
    notes : list of str
        What a reader must know.
    """

    variant: str
    minus2_loglik: float
    n_parameters: int
    iterations: int
    covariance: pd.DataFrame
    aliased: list[str]
    design: Design = field(repr=False)
    inference: MmrmInference | None = field(repr=False)
    options: dict[str, str | None] = field(repr=False)
    reml: bool = True
    method: str = "mmrm"
    structure: str = "us"
    df: str = "satterthwaite"
    se: str = "model"
    fallbacks: tuple[tuple[str, str], ...] = ()
    notes: list[str] = field(default_factory=list)

    @classmethod
    def build(
        cls,
        design: Design,
        visits: tuple[Any, ...],
        groups: tuple[Any, ...],
        likelihood: Likelihood,
        optimum: Optimum,
        *,
        df: str,
        options: Mapping[str, str | None],
        structure: str = "us",
        se: str = "model",
        rows: Rows | None = None,
    ) -> MMRMFit:
        """Make the result from an optimum in reduced coordinates."""
        patterns, failed = likelihood.patterns, optimum.failed
        inference = None
        if failed is None:
            inference = MmrmInference(likelihood, optimum, df, se=se, rows=rows)
            failed = unusable(inference)
            inference = inference if failed is None else None
        scale2 = patterns.reduction.scale**2
        sigma = (
            optimum.point.sigma * scale2
            if failed is None
            else np.full_like(optimum.point.sigma, np.nan)
        )
        labels = (
            pd.MultiIndex.from_product([groups, visits], names=[options["group"], None])
            if groups
            else pd.Index(visits)
        )
        return cls(
            formula=design.formula,
            failed=failed,
            n=patterns.n_obs,
            n_subjects=patterns.n_subjects,
            n_missing=design.n_missing,
            variant=variant(likelihood.reml, df, options, structure, se) + tied_words(design),
            minus2_loglik=deviance(likelihood, optimum) if failed is None else math.nan,
            n_parameters=likelihood.n_parameters,
            iterations=optimum.iterations,
            covariance=pd.DataFrame(
                sigma.reshape(-1, len(visits)), index=labels, columns=pd.Index(visits)
            ),
            aliased=design.aliased,
            design=design,
            inference=inference,
            options=dict(options),
            reml=likelihood.reml,
            structure=structure,
            df=df,
            se=se,
            notes=list(inference.notes) if inference is not None else [],
        )

    @property
    def aic(self) -> float:
        """Akaike's criterion over the covariance parameters (and coefficients for ML)."""
        return self.minus2_loglik + 2.0 * self._counted

    @property
    def bic(self) -> float:
        """Schwarz's criterion; the sample size is the number of subjects."""
        return self.minus2_loglik + math.log(self.n_subjects) * self._counted

    @property
    def _counted(self) -> int:
        return self.n_parameters + (0 if self.reml else len(self.design.kept))

    @property
    def covariance_parameters(self) -> pd.DataFrame:
        """Parameters of the covariance: ``parameter estimate se``, with groups their level first.

        Standard errors come from the observed information.
        """
        names = STRUCTURES[self.structure].names(list(self.covariance.columns))
        grouped = isinstance(self.covariance.index, pd.MultiIndex)
        groups = list(dict.fromkeys(self.covariance.index.get_level_values(0))) if grouped else []
        columns = {
            **({str(self.options["group"]): np.repeat(groups, len(names))} if grouped else {}),
            "parameter": names * max(1, len(groups)),
        }
        if self.inference is None:
            empty = dict.fromkeys(columns, np.array([], dtype=object))
            return pd.DataFrame({**empty, "estimate": [], "se": []})
        numbers = {"estimate": self.inference.theta, "se": self.inference.theta_se}
        return pd.DataFrame({**columns, **numbers})

    @property
    def coefficient_covariance(self) -> pd.DataFrame:
        """Covariance of the coefficients (adjusted, for Kenward-Roger)."""
        names = self.design.names if self.inference is not None else []
        values = self.inference.covariance() if self.inference is not None else np.empty((0, 0))
        return pd.DataFrame(values, index=names, columns=names)

    def test(self, rows: np.typing.ArrayLike) -> FTest | None:
        """Test that linear functions of the coefficients are all zero.

        Parameters
        ----------
        rows : array_like, shape (k, p)
            Independent rows over :attr:`coefficients`.
        """
        matrix = np.atleast_2d(np.asarray(rows, dtype=np.float64))
        return None if self.inference is None else self.inference.f_test(matrix)

    def anova(self) -> pd.DataFrame:
        """Return type III tests of the terms: ``term num_df den_df statistic p``."""
        return _type3.table(self.design, None if self.inference is None else self.inference.f_test)

    def summary(self) -> str:
        """Return the fit as text."""
        head = [f"MMRM: {self.formula}", self.variant]
        head.append(
            f"{self.n_subjects} subjects, {self.n} observations, {self.n_missing} rows missing"
        )
        if self.failed is not None:
            return "\n".join([*head, f"failed: {self.failed}"])
        head += self.notes
        if self.aliased:
            head.append(f"dropped as aliased: {', '.join(self.aliased)}")
        kind = "-2 restricted log-likelihood" if self.reml else "-2 log-likelihood"
        head.append(f"{kind} {self.minus2_loglik:.4f}, AIC {self.aic:.4f}, BIC {self.bic:.4f}")
        table = _marginal.as_text(self.coefficients)
        sigma = self.covariance.to_string(float_format=lambda v: f"{v:.5g}")
        return "\n".join([*head, "", table, "", "Covariance of the visits", sigma])

    def _repr_html_(self) -> str:
        """Return the fit for a notebook."""
        return _marginal.html(self.summary(), self.coefficients)


def unusable(inference: MmrmInference) -> str | None:
    """Say why the precision of the coefficients is no number, or None."""
    if inference.failed is not None:
        return inference.failed
    _, se, df = inference(np.eye(len(inference.beta)))
    if not (np.isfinite(se).all() and (se > 0).all()):
        return "the information matrix gives a negative variance"
    return None if (df > 0).all() else "there are no degrees of freedom left"


def deviance(likelihood: Likelihood, optimum: Optimum) -> float:
    """Return -2 log-likelihood in the units of the data, with its constant."""
    patterns = likelihood.patterns
    free = patterns.n_obs - (patterns.p if likelihood.reml else 0)
    value = optimum.point.value + free * (LOG_2PI + 2.0 * math.log(patterns.reduction.scale))
    if likelihood.reml:
        value += patterns.reduction.logdet
    return float(value - patterns.log_weights)


def variant(
    reml: bool,
    df: str,
    options: Mapping[str, str | None],
    structure: str = "us",
    se: str = "model",
) -> str:
    """Name covariance, estimation, degrees of freedom and standard errors."""
    parts = [f"{STRUCTURES[structure].words} covariance"]
    if options["group"]:
        parts[0] += f" by {options['group']}"
    if options["weights"]:
        parts.append(f"weights {options['weights']}")
    parts += ["REML" if reml else "ML", f"{DF_METHODS[df]} df"]
    return ", ".join([*parts, *([SE_METHODS[se]] if se != "model" else [])])
