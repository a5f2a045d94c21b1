// The waveform of a recording, and a score on its scale.

/** Draws samples [T] into the canvas, its whole width, at the screen's resolution. */
export function drawWaveform(canvas, samples) {
  const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  const height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  pen.fillStyle = getComputedStyle(canvas).color;
  const step = samples.length / width;
  for (let x = 0; x < width; x++) {
    let low = 0, high = 0;
    const end = Math.min(samples.length, Math.floor((x + 1) * step));
    const stride = Math.max(1, Math.floor(step / 200)); // of an hour of sound not every sample has to be looked at
    for (let i = Math.floor(x * step); i < end; i += stride) {
      if (samples[i] < low) low = samples[i];
      if (samples[i] > high) high = samples[i];
    }
    const top = (0.5 - 0.48 * Math.min(1, high)) * height;
    const bottom = (0.5 - 0.48 * Math.max(-1, low)) * height;
    pen.fillRect(x, top, 1, Math.max(devicePixelRatio, bottom - top));
  }
}

const SVG = "http://www.w3.org/2000/svg";

/** Draws score and threshold into the SVG of 300 × 46; returns the ends { low, high } of the scale. */
export function drawScale(svg, score, threshold, names) {
  // Cosines of strangers lie about 0; scores after normalisation may go far beyond 1.
  const low = Math.min(-0.2, score, threshold) < -0.2 ? Math.floor(Math.min(score, threshold)) : -0.2;
  const high = Math.max(1, Math.ceil(Math.max(score, threshold)));
  const x = (value) => 10 + (280 * (value - low)) / (high - low);
  const add = (kind, values, text) => {
    const element = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    svg.append(element);
  };
  svg.replaceChildren();
  add("rect", { class: "track", x: 10, y: 20, width: 280, height: 6, rx: 3 });
  add("rect", { class: "beyond", x: x(threshold), y: 20, width: x(high) - x(threshold), height: 6, rx: 3 });
  add("line", { class: "threshold", x1: x(threshold), x2: x(threshold), y1: 15, y2: 31 });
  add("circle", { class: "score", cx: x(score), cy: 23, r: 6 });
  add("text", { x: within(x(score)), y: 12, "text-anchor": "middle" }, `${names.score} ${score.toFixed(2)}`);
  add("text", { x: within(x(threshold)), y: 43, "text-anchor": "middle" }, `${names.threshold} ${threshold.toFixed(2)}`);
  return { low, high };
}

/** So that a label in the middle of `x` stays inside. */
function within(x) {
  return Math.max(42, Math.min(258, x));
}
