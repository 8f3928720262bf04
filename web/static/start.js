// Starts the WebAssembly module, and shows an error if that fails.
import init from "./echogate.js";

init().catch((error) => {
  document.getElementById("page").textContent = `The page failed to start: ${error}`;
  throw error;
});
