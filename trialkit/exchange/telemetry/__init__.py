"""The telemetry of a session in the formats of others: BIDS-motion, C3D and MCAP.

Every export reads the sealed files after their hashes were verified, and keeps every value:
what the format wants in another unit (joint angles in degrees in BIDS) says so. An export is
a copy for other programs and is never read back as evidence.
"""

from trialkit.exchange.telemetry.export import FORMATS, Exported, export_session

__all__ = ["FORMATS", "Exported", "export_session"]
