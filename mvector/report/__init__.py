"""The report of an evaluation: one HTML page, JSON and CSV, conditions and worst cases; and runs side by side."""

from mvector.report.conditions import condition_rows
from mvector.report.metadata import duration_column, read_metadata, snr_column
from mvector.report.page import Report, write_report
from mvector.report.worst_cases import worst_cases

__all__ = [
    "Report",
    "condition_rows",
    "duration_column",
    "read_metadata",
    "snr_column",
    "worst_cases",
    "write_report",
]
