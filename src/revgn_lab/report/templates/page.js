"use strict";
// A click in a legend hides a curve with its band, in all panels of the figure.
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    for (const part of button.closest("figure").querySelectorAll(`.panel [data-series="${button.dataset.series}"]`)) {
      part.style.display = shown ? "" : "none";
    }
  });
}

// The pointer reads the values off a panel: for each curve that is shown, its point nearest to the pointer's x.
for (const data of document.querySelectorAll(".panel script")) {
  const panel = data.parentElement, svg = panel.querySelector("svg"), output = panel.querySelector("output");
  const rule = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  rule.setAttribute("class", "rule");
  let known;
  svg.addEventListener("pointermove", (event) => {
    known ??= JSON.parse(data.textContent);
    const area = svg.getBoundingClientRect(), [left, top, right, bottom] = known.box;
    const at = ((event.clientX - area.left) / area.width) * svg.viewBox.baseVal.width;
    const inside = left <= at && at <= right;
    output.textContent = inside ? values(known, panel.closest("figure"), (at - left) / (right - left)) : "";
    rule.setAttribute("d", inside && output.textContent ? `M${at} ${top}V${bottom}` : "");
  });
  svg.addEventListener("pointerleave", () => {
    output.textContent = "";
    rule.setAttribute("d", "");
  });
}

function values(known, figure, share) {
  const place = known.log ? Math.log10 : Number;
  const [low, high] = known.x.map(place), x = low + share * (high - low);
  const said = [];
  let nearest;
  for (const curve of known.curves) {
    const button = figure.querySelector(`button[data-series="${curve.series}"]`);
    const far = curve.x.map((each) => Math.abs(place(each) - x));
    const index = far.indexOf(Math.min(...far));
    const beyond = x > place(curve.x.at(-1)) + (high - low) / 50; // a run that has ended before
    if (button.getAttribute("aria-pressed") !== "true" || beyond) continue;
    nearest ??= curve.x[index];
    said.push(`${button.dataset.name} ${curve.y[index]}`);
  }
  return said.length ? `${known.label} ${known.words[nearest] ?? nearest}: ${said.join(", ")}` : "";
}

// What is folded away is printed too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((details) => (details.open = true));
});
addEventListener("afterprint", () => folded.forEach((details) => (details.open = false)));
