// Scenes in, the boxes of their faces out, by YuNet: what OpenCV's FaceDetectorYN does around the network.
import { resize, roundEven } from './pixels.js';

const LONGEST = 320;
const SCORE = 0.6;
const OVERLAP = 0.3;
const CANDIDATES = 100;
const STRIDES = [8, 16, 32];
// The input's sides are multiples of the coarsest stride; from 128 on a side takes the same two bytes in the file.
const MULTIPLE = 32;
const SMALLEST = 128;

export class FaceFinder {
  /** Take YuNet's file, an open(bytes) that gives a session and ONNX Runtime's Tensor. */
  constructor(bytes, open, Tensor) {
    Object.assign(this, { bytes, open, Tensor, size: '', session: null });
  }

  /** Find the faces of an RGBA scene: {box: [x1, y1, x2, y2] in its pixels, score}, the best first. */
  async find(scene) {
    const shrink = Math.min(1, LONGEST / Math.max(scene.width, scene.height));
    const width = Math.max(1, roundEven(scene.width * shrink));
    const height = Math.max(1, roundEven(scene.height * shrink));
    const small = resize(scene, width, height);
    const input = planes(small, padded(width), padded(height));
    const session = await this.opened(padded(width), padded(height));
    const images = new this.Tensor('float32', input, [1, 3, padded(height), padded(width)]);
    const outputs = await session.run({ [session.inputNames[0]]: images });
    const candidates = STRIDES.flatMap((stride) => decode(outputs, stride, padded(width) / stride));
    const across = scene.width / width;
    const down = scene.height / height;
    return suppress(candidates).map(({ x, y, w, h, score }) => ({
      box: [x * across, y * down, (x + w) * across, (y + h) * down],
      score,
    }));
  }

  // The file's input has one size; a source keeps its size, so a session for each new one is opened once.
  async opened(width, height) {
    const size = `${width}x${height}`;
    if (size !== this.size) {
      await this.session?.release();
      this.session = await this.open(withInputSize(this.bytes, height, width));
      this.size = size;
    }
    return this.session;
  }
}

function padded(length) {
  return Math.max(SMALLEST, Math.ceil(length / MULTIPLE) * MULTIPLE);
}

// Blue, green and red planes of 0 to 255 with zeros right of and below the image.
function planes(image, width, height) {
  const input = new Float32Array(3 * width * height);
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++) {
      const from = (y * image.width + x) * 4;
      for (let plane = 0; plane < 3; plane++) {
        input[(plane * height + y) * width + x] = image.data[from + 2 - plane];
      }
    }
  }
  return input;
}

function decode(outputs, stride, columns) {
  const kinds = ['cls', 'obj', 'bbox'].map((kind) => outputs[`${kind}_${stride}`].data);
  const [classes, objects, boxes] = kinds;
  const found = [];
  for (let cell = 0; cell < classes.length; cell++) {
    const score = Math.sqrt(unit(classes[cell]) * unit(objects[cell]));
    if (score < SCORE) continue;
    const [dx, dy, dw, dh] = boxes.subarray(cell * 4, cell * 4 + 4);
    const w = Math.exp(dw) * stride;
    const h = Math.exp(dh) * stride;
    const x = ((cell % columns) + dx) * stride - w / 2;
    const y = (Math.floor(cell / columns) + dy) * stride - h / 2;
    found.push({ x, y, w, h, score });
  }
  return found;
}

function unit(value) {
  return Math.min(Math.max(value, 0), 1);
}

// Greedy suppression; as in OpenCV boxes overlap in whole pixels, cut off towards zero.
function suppress(candidates) {
  const kept = [];
  const ranked = candidates.toSorted((one, two) => two.score - one.score).slice(0, CANDIDATES);
  for (const candidate of ranked) {
    if (kept.every((other) => overlap(candidate, other) <= OVERLAP)) kept.push(candidate);
  }
  return kept;
}

function overlap(one, two) {
  const [a, b] = [one, two].map((box) => [box.x, box.y, box.w, box.h].map(Math.trunc));
  const width = Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]);
  const shared = Math.max(0, width) * Math.max(0, height);
  return shared / Math.max(1, a[2] * a[3] + b[2] * b[3] - shared);
}

/**
 * A copy of a fully convolutional ONNX file whose input [1, 3, H, W] has other sides.
 *
 * Its fields are walked as protobuf lays them out: ModelProto.graph (7); GraphProto.input (11), output (12) and
 * value_info (13); ValueInfoProto.type (2), TypeProto.tensor_type (1), Tensor.shape (2), TensorShapeProto.dim (1),
 * Dimension.dim_value (1). Recorded sizes of all other values would contradict the new ones: they get a field number
 * that the format does not use, and are skipped.
 */
export function withInputSize(bytes, height, width) {
  const copy = bytes.slice();
  const [graph] = field(copy, { start: 0, end: copy.length }, 7);
  const shapeOf = (value) => [2, 1, 2].reduce((part, number) => field(copy, part, number)[0], value);
  const [rows, columns] = field(copy, shapeOf(field(copy, graph, 11)[0]), 1).slice(2);
  for (const value of field(copy, graph, 12)) copy[shapeOf(value).tag] = (3 << 3) | 2;
  for (const { tag } of field(copy, graph, 13)) copy[tag] = (9 << 3) | 2;
  for (const [dimension, value] of [[rows, height], [columns, width]]) {
    const [size] = field(copy, dimension, 1);
    // A free side (dim_param) needs no change.
    if (!size) continue;
    if (size.end - size.start !== 2 || value < SMALLEST || value >> 14) {
      throw new Error(`The face detector cannot look at ${width} x ${height} pixels; build the page with YuNet's file.`);
    }
    copy[size.start] = (value & 127) | 128;
    copy[size.start + 1] = value >> 7;
  }
  return copy;
}

// Where a field lies in a message, each time it occurs: its tag and its value from `start` to `end`.
function field(bytes, { start, end }, wanted) {
  const found = [];
  let at = start;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < end) {
    const tag = at;
    const key = varint();
    const kind = key & 7;
    const length = kind === 2 ? varint() : { 1: 8, 5: 4 }[kind];
    const from = at;
    if (length === undefined) varint();
    else at += length;
    if (key >> 3 === wanted) found.push({ tag, start: from, end: at });
  }
  return found;
}
