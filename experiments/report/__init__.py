"""One self-contained HTML page per run: what the attacker still learns, what the user can still do.

- `record`: what a run folder holds, read once and checked;
- `wording`: names of cameras and attacks, numbers with sensible digits;
- `verdict`, `tables`: the sentences and the rows, computed from the numbers;
- `drawing`: palette, axes and encoding shared by all figures;
- `figures_faces`, `figures_privacy`, `figures_light`, `figures_training`: the figures;
- `page`: puts them into `page.html.j2` and writes the files.
"""

from experiments.report.page import write_report

__all__ = ["write_report"]
