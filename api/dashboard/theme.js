// Before anything is painted, so that a page that is to be dark does not flash. A module would come too late.
try {
  const chosen = localStorage.getItem("balancer.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; the system's own choice is as good.
}
