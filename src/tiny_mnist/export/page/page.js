// The page: what is on the pad goes through the network, and everything it computes is shown.
const network = loadNetwork(NETWORK);
const result = document.querySelector("section");
const message = result.querySelector(".message");
const seen = result.querySelector(".seen canvas");
const rows = [...result.querySelectorAll(".probabilities li")];
const mapCanvases = network.convs.map(({ filters }, layer) => {
  const row = result.querySelectorAll(".maps div")[layer];
  return Array.from({ length: filters }, () => row.appendChild(document.createElement("canvas")));
});

// Shows one channel of an activation in grey; the largest value is white.
function drawGrey(canvas, { values, side, channels }, channel, largest) {
  canvas.width = canvas.height = side;
  const pixels = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    pixels.data.fill((255 * values[channels * i + channel]) / largest, 4 * i, 4 * i + 3);
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function showResult(image) {
  const values = image ?? new Uint8Array(SIDE * SIDE);
  const { logProbs, maps } = predict(network, values);
  const best = logProbs.indexOf(Math.max(...logProbs));
  result.classList.toggle("empty", !image);
  result.querySelector(".digit").textContent = image ? best : "–";
  drawGrey(seen, { values, side: SIDE, channels: 1 }, 0, 255);
  rows.forEach((row, digit) => {
    const percent = image ? 100 * Math.exp(logProbs[digit]) : 0;
    row.classList.toggle("best", Boolean(image) && digit === best);
    row.querySelector(".bar span").style.width = `${percent}%`;
    row.lastElementChild.textContent = image ? `${percent.toFixed(1)} %` : "–";
  });
  maps.forEach((map, layer) => {
    const largest = image ? map.values.reduce((most, value) => Math.max(most, value), 1e-6) : Infinity;
    mapCanvases[layer].forEach((canvas, channel) => drawGrey(canvas, map, channel, largest));
  });
}

createPad(document.querySelector("#pad"), (picture) => {
  const canvas = picture?.canvas;
  message.textContent = picture && !canvas ? `This browser cannot show ${picture.file.name}.` : "";
  if (!canvas) return showResult(null);
  showResult(toMnistForm(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)));
});
showResult(null);
