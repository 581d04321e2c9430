// The forward pass of the network. An activation is a Float32Array [row][column][channel] of a
// square image; NETWORK, which the exporter wrote, has the sizes of the layers and their weights.

// Decodes the weights of every layer: 32-bit floats, one layer after the other.
function loadNetwork({ convs, features, weights }) {
  const bytes = Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0));
  const numbers = new Float32Array(bytes.buffer);
  let start = 0;
  const take = (count) => numbers.subarray(start, (start += count));
  return {
    convs: convs.map((conv) => ({
      ...conv,
      weights: take(conv.filters * conv.channels * conv.kernel ** 2), // [filter][row][column][channel]
      bias: take(conv.filters),
    })),
    linear: { features, weights: take(10 * features), bias: take(10) },
  };
}

// Convolution without padding, then ReLU. A row of a kernel and the pixels below it are both
// contiguous, so the innermost loop is a product of two vectors.
function convolve(input, { side, channels, filters, kernel, weights, bias }) {
  const outSide = side - kernel + 1;
  const output = new Float32Array(outSide * outSide * filters);
  const length = kernel * channels;
  let outAt = 0;
  for (let y = 0; y < outSide; y++) {
    for (let x = 0; x < outSide; x++) {
      let weightAt = 0;
      for (let filter = 0; filter < filters; filter++) {
        let sum = bias[filter];
        for (let row = 0; row < kernel; row++) {
          const start = ((y + row) * side + x) * channels;
          for (let i = 0; i < length; i++) sum += weights[weightAt++] * input[start + i];
        }
        output[outAt++] = sum > 0 ? sum : 0;
      }
    }
  }
  return output;
}

// The largest value of every pool × pool square.
function maxPool(input, channels, side, pool) {
  const outSide = Math.floor(side / pool);
  const output = new Float32Array(outSide * outSide * channels); // no input is negative
  for (let y = 0; y < outSide * pool; y++) {
    for (let x = 0; x < outSide * pool; x++) {
      const from = (y * side + x) * channels;
      const to = (Math.floor(y / pool) * outSide + Math.floor(x / pool)) * channels;
      for (let channel = 0; channel < channels; channel++) {
        if (input[from + channel] > output[to + channel]) output[to + channel] = input[from + channel];
      }
    }
  }
  return output;
}

// From 784 grey values (0 to 255, light on dark) to ten log-probabilities and the feature maps.
function predict(network, image) {
  let values = Float32Array.from(image);
  const maps = [];
  for (const conv of network.convs) {
    values = convolve(values, conv);
    let side = conv.side - conv.kernel + 1;
    if (conv.pool > 1) {
      values = maxPool(values, conv.filters, side, conv.pool);
      side = Math.floor(side / conv.pool);
    }
    maps.push({ values, side, channels: conv.filters });
  }
  const { features, weights, bias } = network.linear;
  const logits = Array.from(bias, (start, digit) => {
    let sum = start;
    for (let i = 0; i < features; i++) sum += weights[digit * features + i] * values[i];
    return sum;
  });
  const largest = Math.max(...logits);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
  const logProbs = logits.map((logit) => logit - largest - Math.log(total));
  return { logProbs, maps };
}
