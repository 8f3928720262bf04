// All that is not compiled from Rust: start it, and say so where that fails.
import init from "./echogate.js";

init().catch((error) => {
  document.getElementById("page").textContent = `The page could not start: ${error}`;
  throw error;
});
