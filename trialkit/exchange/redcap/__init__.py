"""REDCap: data dictionary and records out, records in.

The dictionary has REDCap's 18 columns in its order; the records are its raw, flat form: one row a
record and event, and one a repetition of a repeating instrument.
"""

from trialkit.exchange.redcap.dictionary import COLUMNS, read_dictionary
from trialkit.exchange.redcap.export import export_redcap
from trialkit.exchange.redcap.load import draft_redcap, import_redcap
from trialkit.exchange.redcap.records import read_records

__all__ = [
    "COLUMNS",
    "draft_redcap",
    "export_redcap",
    "import_redcap",
    "read_dictionary",
    "read_records",
]
