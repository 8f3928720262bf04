
__wbg_init().catch((error) => {
  document.getElementById("page").textContent = `The page failed to start: ${error}`;
  throw error;
});
