"""Exchange: foreign tables in, through a mapping, as an ordinary study."""

from trialkit.exchange.load import import_table
from trialkit.exchange.mapping import Mapping, load_mapping

__all__ = ["Mapping", "import_table", "load_mapping"]
