/** A table that is wider than its place can be scrolled with the keyboard. */
export function scrollable(node: HTMLElement): () => void {
  const look = () => {
    if (node.scrollWidth > node.clientWidth) {
      node.tabIndex = 0;
      node.setAttribute("role", "group");
      node.setAttribute("aria-label", "Table, wider than the window");
    } else for (const name of ["tabindex", "role", "aria-label"]) node.removeAttribute(name);
  };
  const resized = new ResizeObserver(look);
  resized.observe(node);
  const table = node.querySelector("table");
  if (table) resized.observe(table);
  return () => resized.disconnect();
}
