// Shows the display behind /vnc, and lets the test look at it.
import RFB from "./novnc/core/rfb.js";

window.rfb = new RFB(document.querySelector("#display"), `ws://${location.host}/vnc`);
rfb.addEventListener("connect", () => (document.body.dataset.state = "connect"));
rfb.addEventListener("disconnect", ({ detail }) => {
  document.body.dataset.state = detail.clean ? "disconnect, clean" : "disconnect";
});

/** The colour at a place, as `R,G,B`. */
window.pixel = (x, y) => {
  const canvas = document.querySelector("canvas");
  return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data.slice(0, 3)].join();
};
