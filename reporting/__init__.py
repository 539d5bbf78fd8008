"""What searches found, for someone who looks rather than reads: report.html, its figures as images, and the data."""

from reporting.report import write_report

__all__ = ["write_report"]
