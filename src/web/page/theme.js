// Sets the colours before the page is drawn, so that it does not flash. "auto" follows the system.
"use strict";
document.documentElement.dataset.theme = (() => {
  try {
    return localStorage.getItem("heed-theme") ?? "auto";
  } catch {
    return "auto";  // storage may be forbidden
  }
})();
