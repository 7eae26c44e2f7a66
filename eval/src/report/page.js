for (const table of document.querySelectorAll("table")) {
  table.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
    const upward = head.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", upward ? "ascending" : "descending");
    const key = (row) => row.cells[column].textContent;
    const numeric = head.classList.contains("number");
    const order = (a, b) => {
      // Empty cells come last either way.
      if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
      const sign = numeric ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b));
      return upward ? sign : -sign;
    };
    const body = table.tBodies[0];
    [...body.rows].sort(order).forEach((row) => body.append(row));
  }));
}
