// Everything that computes: checks the files, times the models, finds and reads faces. One request at a time.
import * as ort from './ort/ort.wasm.min.mjs';
import { FaceFinder } from './faces.js';
import { cropFace, fit } from './pixels.js';

// A frame with more faces would keep the others waiting.
const MOST_FACES = 4;
const ROUNDS = { warm: 2, least: 5, most: 40, milliseconds: 1500 };

const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext('2d', { willReadFrequently: true });
const sessions = new Map();
let config;
let finder = null;
let chosen;

const handlers = {
  /** Open all models and time them: {config, threads, times in ms by name, chosen}. */
  async open() {
    if (!globalThis.crypto?.subtle) {
      throw new Error('A browser checks files and opens the camera only on https or localhost; open the page there.');
    }
    ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
    // Threads wait for each other by spinning: on cores that the camera and the page need too they only slow down.
    const threads = Math.min(4, Math.max(1, navigator.hardwareConcurrency >> 1));
    ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? threads : 1;
    ort.env.logLevel = 'error';
    config = JSON.parse(new TextDecoder().decode(await download('config.json')));
    for (const { name, model } of config.models) sessions.set(name, await openSession(await verified(model)));
    if (config.faces) finder = new FaceFinder(await verified(config.faces), openSession, ort.Tensor);
    const times = await timeModels();
    chosen = Object.keys(times).reduce((best, name) => (times[name] < times[best] ? name : best));
    return { config, times, chosen, threads: ort.env.wasm.numThreads };
  },

  /** Use another model from now on. */
  choose(name) {
    if (!sessions.has(name)) throw new Error(`There is no model ${name}; there are ${[...sessions.keys()].join(', ')}.`);
    chosen = name;
  },

  /** Classify a crop of a face, whole: {label, probabilities by class, pixels}. */
  async classify(bitmap) {
    const [answer] = (await classify([pixelsOf(bitmap)])).answers;
    const named = config.classes.map((name, index) => [name, answer.probabilities[index]]);
    return { label: answer.label, probabilities: Object.fromEntries(named), pixels: answer.pixels };
  },

  /** Find the faces of a scene and classify them: {faces: [{box, score, label, probabilities, pixels}], ...} and times. */
  async look(bitmap) {
    const scene = pixelsOf(bitmap);
    const start = performance.now();
    const found = finder ? (await finder.find(scene)).slice(0, MOST_FACES) : [{ box: centre(scene), score: null }];
    const detection = finder ? performance.now() - start : null;
    const crops = found.map(({ box }) => cropFace(scene, box, finder ? config.face_side : 1));
    const { answers: read, inference } = await classify(crops);
    const faces = found.map((face, index) => ({ ...face, ...read[index] }));
    return { faces, width: scene.width, height: scene.height, detection, inference };
  },
};

self.onmessage = async ({ data: { id, kind, argument } }) => {
  try {
    self.postMessage({ id, result: await handlers[kind](argument) });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
};

async function download(path) {
  const response = await fetch(new URL(path, import.meta.url)).catch(() => null);
  if (!response?.ok) throw new Error(`${path} cannot be loaded; build the page again or check the connection.`);
  return new Uint8Array(await response.arrayBuffer());
}

async function verified(path) {
  const bytes = await download(path);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const wanted = config.files[path];
  if (found !== wanted) {
    throw new Error(
      `${path} has the SHA-256 ${found.slice(0, 12)}, not ${wanted.slice(0, 12)}: ` +
        'it is damaged or replaced and is not used; build the page again.',
    );
  }
  return bytes;
}

function openSession(bytes) {
  return ort.InferenceSession.create(bytes, { executionProviders: ['wasm'], logSeverityLevel: 3 });
}

// Interleaved, so that whatever else the device does at the same time hits all models alike; the median of each in ms.
async function timeModels() {
  const { height, width, channels } = config.input;
  const data = Uint8Array.from({ length: height * width * channels }, (_, index) => (index * 37) % 256);
  const runs = new Map([...sessions.keys()].map((name) => [name, []]));
  const begin = performance.now();
  for (let round = 0; round < ROUNDS.warm + ROUNDS.most; round++) {
    if (round >= ROUNDS.warm + ROUNDS.least && performance.now() - begin > ROUNDS.milliseconds) break;
    for (const [name, session] of sessions) {
      const start = performance.now();
      await session.run({ images: new ort.Tensor('uint8', data, [1, height, width, channels]) });
      if (round >= ROUNDS.warm) runs.get(name).push(performance.now() - start);
    }
  }
  return Object.fromEntries([...runs].map(([name, values]) => [name, values.sort((a, b) => a - b)[values.length >> 1]]));
}

// RGBA crops of any size in; label, probabilities and the model's pixels of each out.
async function classify(crops) {
  if (!crops.length) return { answers: [], inference: null };
  const { height, width, channels } = config.input;
  const fitted = crops.map((crop) => fit(crop, config.input).data);
  const data = new Uint8Array(crops.length * height * width * channels);
  fitted.forEach((pixels, index) => data.set(pixels, index * pixels.length));
  const start = performance.now();
  const images = new ort.Tensor('uint8', data, [crops.length, height, width, channels]);
  const outputs = await sessions.get(chosen).run({ images });
  const inference = performance.now() - start;
  const count = config.classes.length;
  const answers = fitted.map((pixels, index) => {
    const probabilities = outputs.probabilities.data.slice(index * count, (index + 1) * count);
    const label = config.classes[probabilities.indexOf(Math.max(...probabilities))];
    return { label, probabilities, pixels };
  });
  return { answers, inference };
}

// A bitmap's RGBA samples; it is used up.
function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.clearRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

function centre({ width, height }) {
  const side = Math.min(width, height);
  const left = (width - side) >> 1;
  const top = (height - side) >> 1;
  return [left, top, left + side, top + side];
}
