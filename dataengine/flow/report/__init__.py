"""The report of a run: one HTML file that needs nothing else, for a person to read and to pass on.

`write.py` gathers what it tells, `samples.py` the episodes it shows, `charts.py` draws, `page.html` and
`page.css` are how it looks. All text of a dataset is escaped; pictures stand in the file itself.
"""

from dataengine.flow.report.write import write_report

__all__ = ["write_report"]
