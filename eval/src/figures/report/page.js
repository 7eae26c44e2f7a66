// Numbers in order, then what is no number; empty cells come last either way.
const number = (text) => ({ inf: Infinity, "-inf": -Infinity })[text] ?? Number(text);
const rank = (text) => (text === "" ? 2 : Number.isNaN(number(text)) ? 1 : 0);
const byNumber = (a, b) => rank(a) - rank(b) || (rank(a) === 0 ? Math.sign(number(a) - number(b)) || 0 : 0);
for (const table of document.querySelectorAll("table")) {
  const heads = table.querySelectorAll("th");
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const upward = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", upward ? "ascending" : "descending");
    const key = (row) => row.cells[column].textContent;
    const compare = head.classList.contains("number") ? byNumber : (a, b) => a.localeCompare(b);
    const order = (a, b) => {
      const empty = (key(a) === "") - (key(b) === "");
      return empty || (upward ? compare(key(a), key(b)) : compare(key(b), key(a)));
    };
    const body = table.tBodies[0];
    [...body.rows].sort(order).forEach((row) => body.append(row));
  }));
}
// What is linked to is open.
const reveal = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.closest("details");
  if (!details) return;
  details.open = true;
  target.scrollIntoView({ block: "nearest" });
};
addEventListener("hashchange", reveal);
reveal();
// A second click on the same number changes no address.
document.addEventListener("click", (event) => {
  if (event.target.closest('a[href^="#"]')?.hash === location.hash) reveal();
});
