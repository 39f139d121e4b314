// Draws each plot when it comes near the screen, and the others when the browser has nothing else to do, so that a page
// of a few hundred plots opens at once.
"use strict";
const options = { responsive: true, displaylogo: false, displayModeBar: "hover" };
const waiting = new Set(document.querySelectorAll(".plot"));
const near = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
  { rootMargin: "400px" },
);
const whenIdle = window.requestIdleCallback || ((work) => setTimeout(work, 50)); // Safari has none

function draw(plot) {
  if (!waiting.delete(plot)) return;
  near.unobserve(plot);
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  Plotly.newPlot(plot, figure.data, figure.layout, options);
}

function drawNext() {
  const [plot] = waiting;
  if (!plot) return;
  draw(plot);
  whenIdle(drawNext);
}

waiting.forEach((plot) => near.observe(plot));
whenIdle(drawNext);
addEventListener("beforeprint", () => {
  waiting.forEach(draw);
  document.querySelectorAll("details").forEach((details) => (details.open = true));
});
