"""Exchange: foreign tables in, through a mapping; telemetry out, in the formats of others."""

from trialkit.exchange.load import import_table
from trialkit.exchange.mapping import Mapping, load_mapping
from trialkit.exchange.telemetry import Exported, export_session

__all__ = ["Exported", "Mapping", "export_session", "import_table", "load_mapping"]
