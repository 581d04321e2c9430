// From a picture to an image as in MNIST: light on dark, the digit's longer side 20 pixels, its
// centre of mass in the middle of 28×28 pixels, its strokes about as wide as MNIST's.
const SIDE = 28;
const FIT = 20; // pixels of the digit's longer side
const FINE = 8; // fine pixels to a side of one of the image, while the shape is scaled
const STROKE = [2.3, 3.4]; // pixels: the widths of most of MNIST's strokes

// How much ink there is at each pixel of RGBA data, 0 to 1: the distance from the background,
// which is the median of the border. Null where nothing stands out.
function inkOf({ data, width, height }) {
  const grey = new Float32Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  }
  const border = grey.filter((_, i) => {
    const x = i % width;
    return x === 0 || x === width - 1 || i < width || i >= width * (height - 1);
  });
  const background = border.sort()[border.length >> 1];
  const sign = background > 127 ? -1 : 1;
  const ink = grey.map((value) => Math.max(0, sign * (value - background)));
  const strongest = ink.reduce((most, value) => Math.max(most, value), 0);
  return strongest < 20 ? null : ink.map((value) => value / strongest);
}

// The smallest box around the values above one half; null where there are none.
function boundingBox(values, width, height) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (values[y * width + x] <= 0.5) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = y + 1;
    }
  }
  return right ? { left, top, width: right - left, height: bottom - top } : null;
}

// The ink alone as a black-and-white shape, the longer side of its box FIT × FINE pixels, in the
// middle of a square with a margin.
function fitShape(values, width, height) {
  const box = boundingBox(values, width, height);
  const scale = Math.max(box.width, box.height) / (FIT * FINE);
  const side = SIDE * FINE;
  const shape = new Uint8Array(side * side);
  const middleX = box.left + box.width / 2;
  const middleY = box.top + box.height / 2;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const fromX = middleX + (x + 0.5 - side / 2) * scale - 0.5;
      const fromY = middleY + (y + 0.5 - side / 2) * scale - 0.5;
      shape[y * side + x] = interpolate(values, width, height, fromX, fromY) > 0.5 ? 1 : 0;
    }
  }
  return shape;
}

// A value between pixels; nothing outside.
function interpolate(values, width, height, x, y) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const at = (column, row) =>
    column < 0 || row < 0 || column >= width || row >= height ? 0 : values[row * width + column];
  const upper = at(left, top) * (left + 1 - x) + at(left + 1, top) * (x - left);
  const lower = at(left, top + 1) * (left + 1 - x) + at(left + 1, top + 1) * (x - left);
  return upper * (top + 1 - y) + lower * (y - top);
}

// For each pixel of a square, the distance to the nearest pixel that has this value, as the length
// of a path of straight and diagonal steps: two passes over the square.
function distancesTo(value, shape, side) {
  const distances = Float32Array.from(shape, (pixel) => (pixel === value ? 0 : 2 * side));
  const relax = (at, step, length) => {
    const to = at + step;
    if (to < 0 || to >= distances.length || Math.abs((to % side) - (at % side)) > 1) return;
    distances[at] = Math.min(distances[at], distances[to] + length);
  };
  for (const direction of [-1, 1]) {
    for (let i = 0; i < distances.length; i++) {
      const at = direction < 0 ? i : distances.length - 1 - i;
      relax(at, direction, 1);
      relax(at, direction * side, 1);
      relax(at, direction * (side - 1), Math.SQRT2);
      relax(at, direction * (side + 1), Math.SQRT2);
    }
  }
  return distances;
}

// The shape with strokes of a width that MNIST has, as far as its own is not.
function normalizeStroke(shape, side) {
  const inside = distancesTo(0, shape, side).filter((distance) => distance > 0);
  // In a bar, the width is four times the mean distance to its edge.
  const width = (4 * inside.reduce((sum, d) => sum + d, 0)) / inside.length / FINE;
  const wanted = Math.min(STROKE[1], Math.max(STROKE[0], width));
  // Wider strokes make the digit larger, and scaling it back makes all of it smaller.
  const growth = (FINE * (wanted - width)) / (2 * (1 - wanted / FIT));
  if (Math.abs(growth) < 0.25) return shape;
  const distances = distancesTo(growth > 0 ? 1 : 0, shape, side);
  const changed = Uint8Array.from(distances, (distance) =>
    (growth > 0 ? distance <= growth : distance > -growth) ? 1 : 0,
  );
  return changed.includes(1) ? fitShape(changed, side, side) : shape;
}

// The 784 grey values of the digit in RGBA data; null where there is no ink.
function toMnistForm(picture) {
  const ink = inkOf(picture);
  if (!ink) return null;
  const side = SIDE * FINE;
  const shape = normalizeStroke(fitShape(ink, picture.width, picture.height), side);
  let [total, sumX, sumY] = [0, 0, 0];
  shape.forEach((pixel, i) => {
    total += pixel;
    sumX += pixel * (i % side);
    sumY += pixel * Math.floor(i / side);
  });
  // The centre of mass becomes the middle of pixel (14, 14).
  const middle = (SIDE / 2 + 0.5) * FINE - 0.5;
  const shiftX = Math.round(middle - sumX / total);
  const shiftY = Math.round(middle - sumY / total);
  const counts = new Float32Array(SIDE * SIDE);
  shape.forEach((pixel, i) => {
    const x = Math.floor(((i % side) + shiftX) / FINE);
    const y = Math.floor((Math.floor(i / side) + shiftY) / FINE);
    if (pixel && x >= 0 && y >= 0 && x < SIDE && y < SIDE) counts[y * SIDE + x]++;
  });
  return Uint8Array.from(counts, (count) => Math.round((255 * count) / FINE ** 2));
}
