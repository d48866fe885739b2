// Pixels as edgemotion.runtime brings them to a model: the same integers, so that a browser answers as Python does.
//
// An image is {data, width, height, channels} with uint8 samples, row by row. Canvas resizing is no help: its filter is
// not specified. What OpenCV 5 does on x86 is repeated here, and tests/serve/test_page.py holds both equal bit for bit.

/** An RGBA image in, gray (1) or RGB (3) out; gray by the 15-bit weights of OpenCV. */
export function toChannels(image, channels) {
  const from = image.data;
  const count = image.width * image.height;
  const data = new Uint8Array(count * channels);
  for (let pixel = 0; pixel < count; pixel++) {
    const at = pixel * 4;
    if (channels === 1) {
      data[pixel] = (from[at] * 9798 + from[at + 1] * 19235 + from[at + 2] * 3735 + 16384) >> 15;
    } else {
      for (let channel = 0; channel < 3; channel++) data[pixel * 3 + channel] = from[at + channel];
    }
  }
  return { data, width: image.width, height: image.height, channels };
}

/** Cut the square around the centre of a box [x1, y1, x2, y2], `side` box heights long; its outside repeats the border. */
export function cropFace(image, [x1, y1, x2, y2], side) {
  const length = Math.max(1, roundEven((y2 - y1) * side));
  const left = roundEven((x1 + x2 - length) / 2);
  const top = roundEven((y1 + y2 - length) / 2);
  const { channels } = image;
  const data = new Uint8Array(length * length * channels);
  let to = 0;
  for (let y = top; y < top + length; y++) {
    const row = clamp(y, image.height) * image.width;
    for (let x = left; x < left + length; x++) {
      const from = (row + clamp(x, image.width)) * channels;
      for (let channel = 0; channel < channels; channel++) data[to++] = image.data[from + channel];
    }
  }
  return { data, width: length, height: length, channels };
}

/** Bring an RGBA crop to what a model takes: the counterpart of edgemotion.runtime.classifier.fit. */
export function fit(crop, { height, width, channels }) {
  return resize(toChannels(crop, channels), width, height);
}

/** Average over the area to shrink, interpolate linearly to grow. */
export function resize(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const average = image.width * image.height > width * height;
  const shrinks = image.width >= width && image.height >= height;
  // Where one side grows, OpenCV's area averaging is an interpolation with other weights.
  return average && shrinks ? shrink(image, width, height) : interpolate(image, width, height, average);
}

function shrink(image, width, height) {
  const across = 1 / (width / image.width);
  const down = 1 / (height / image.height);
  const whole = [across, down].every((scale) => Math.abs(scale - Math.round(scale)) < Number.EPSILON);
  return whole ? shrinkWhole(image, width, height) : shrinkShares(image, width, height, across, down);
}

// Blocks of whole pixels: an integer sum and one multiplication.
function shrinkWhole(image, width, height) {
  const { channels } = image;
  const across = image.width / width;
  const down = image.height / height;
  const share = Math.fround(1 / (across * down));
  const data = new Uint8Array(width * height * channels);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        for (let row = y * down; row < (y + 1) * down; row++) {
          let from = (row * image.width + x * across) * channels + channel;
          for (let column = 0; column < across; column++, from += channels) sum += image.data[from];
        }
        // Quarters round half up, all other areas half to even.
        data[to++] = across === 2 && down === 2 ? (sum + 2) >> 2 : roundEven(Math.fround(sum * share));
      }
    }
  }
  return { data, width, height, channels };
}

// Pixels that lie in two cells count in both by their shares. Sums are float32 in OpenCV's order.
function shrinkShares(image, width, height, across, down) {
  const { channels } = image;
  const columns = shares(image.width, width, across);
  const data = new Uint8Array(width * height * channels);
  const line = new Float32Array(width * channels);
  const sums = new Float32Array(width * channels);
  let current = 0;
  const write = () => {
    for (let at = 0; at < sums.length; at++) data[current * sums.length + at] = roundEven(sums[at]);
    sums.fill(0);
  };
  for (const [y, row, weight] of shares(image.height, height, down)) {
    line.fill(0);
    for (const [x, column, part] of columns) {
      const from = (row * image.width + column) * channels;
      for (let channel = 0; channel < channels; channel++) {
        line[x * channels + channel] += Math.fround(image.data[from + channel] * part);
      }
    }
    if (y !== current) write();
    current = y;
    for (let at = 0; at < sums.length; at++) sums[at] += Math.fround(weight * line[at]);
  }
  write();
  return { data, width, height, channels };
}

// [cell, pixel, float32 share] for each overlap of one of `count` cells with one of `length` pixels.
function shares(length, count, scale) {
  const table = [];
  for (let cell = 0; cell < count; cell++) {
    const start = cell * scale;
    const end = start + scale;
    const size = Math.min(scale, length - start);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) table.push([cell, first - 1, Math.fround((first - start) / size)]);
    for (let pixel = first; pixel < last; pixel++) table.push([cell, pixel, Math.fround(1 / size)]);
    if (end - last > 1e-3) table.push([cell, last, Math.fround(Math.min(end - last, 1, size) / size)]);
  }
  return table;
}

// Bilinear with weights of 11 bits.
function interpolate(image, width, height, average) {
  const { channels } = image;
  const columns = weights(image.width, width, average);
  const rows = weights(image.height, height, average);
  const lines = new Int32Array(image.height * width * channels);
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < width; x++) {
      const { place, second } = columns[x];
      // Beyond the border the pixel at the border counts alone.
      const inside = place >= 0 && place < image.width - 1;
      const left = (y * image.width + clamp(place, image.width)) * channels;
      for (let channel = 0; channel < channels; channel++) {
        const one = image.data[left + channel];
        const two = inside ? image.data[left + channels + channel] : one;
        lines[(y * width + x) * channels + channel] = one * (2048 - second) + two * second;
      }
    }
  }
  const data = new Uint8Array(width * height * channels);
  const length = width * channels;
  for (let y = 0; y < height; y++) {
    const { place, second } = rows[y];
    const upper = clamp(place, image.height) * length;
    const lower = clamp(place + 1, image.height) * length;
    for (let at = 0; at < length; at++) {
      const one = ((2048 - second) * (lines[upper + at] >> 4)) >> 16;
      const two = (second * (lines[lower + at] >> 4)) >> 16;
      data[y * length + at] = (one + two + 2) >> 2;
    }
  }
  return { data, width, height, channels };
}

// For each of `count` places the first of two pixels and the weight of the second, of 2048.
function weights(length, count, average) {
  const inverse = count / length;
  const scale = 1 / inverse;
  return Array.from({ length: count }, (_, index) => {
    if (average) {
      const place = Math.floor(index * scale);
      const share = Math.fround(index + 1 - (place + 1) * inverse);
      return { place, second: roundEven(Math.fround((share <= 0 ? 0 : share - Math.floor(share)) * 2048)) };
    }
    const exact = Math.fround((index + 0.5) * scale - 0.5);
    const place = Math.floor(exact);
    return { place, second: roundEven(Math.fround(Math.fround(exact - place) * 2048)) };
  });
}

/** Round half to even, as Python and OpenCV do. */
export function roundEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

function clamp(index, length) {
  return Math.min(Math.max(index, 0), length - 1);
}
