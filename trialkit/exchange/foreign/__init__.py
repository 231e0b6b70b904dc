"""Forms to and from other systems, whatever the format: contents, mapping, check, entry.

`contents` says what leaves a study, for all formats alike. A file that comes in is a `Table` of
rows; a mapping says what its columns are, and `import_forms` enters them.
"""

from trialkit.exchange.foreign.enter import Imported, import_forms
from trialkit.exchange.foreign.mapping import ExchangeMapping, load_exchange_mapping
from trialkit.exchange.foreign.table import Field, Row, Table

__all__ = [
    "ExchangeMapping",
    "Field",
    "Imported",
    "Row",
    "Table",
    "import_forms",
    "load_exchange_mapping",
]
