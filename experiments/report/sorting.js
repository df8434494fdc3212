// A click on a heading sorts its table: numbers by size, words by letter, what has no number last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const texts = [...body.rows].map((row) => row.cells[column].textContent.trim());
      const numeric = texts.some((text) => /^[-+.\d]/.test(text));
      const value = (row) => {
        const text = row.cells[column].textContent.trim();
        return numeric ? parseFloat(text) : text;
      };
      const missing = (x) => numeric && Number.isNaN(x);
      const rows = [...body.rows].sort((first, second) => {
        const [a, b] = [value(first), value(second)];
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        const order = numeric ? a - b : a.localeCompare(b);
        return up ? order : -order;
      });
      body.append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}
