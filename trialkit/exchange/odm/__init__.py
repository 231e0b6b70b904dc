"""CDISC ODM 2.0: design, values with their audit records, users and sites out; values in."""

from trialkit.exchange.odm.export import export_odm
from trialkit.exchange.odm.load import draft_odm, import_odm
from trialkit.exchange.odm.read import read_odm

__all__ = ["draft_odm", "export_odm", "import_odm", "read_odm"]
