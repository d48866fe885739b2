// What people see and touch; worker.js computes. `window.edgemotion` is for pages and tests that embed this one.
import { KalmanSmoother } from './smoothing.js';

const $ = (id) => document.getElementById(id);
const [stage, video, image, overlay] = ['stage', 'video', 'image', 'overlay'].map($);
// A face whose box shares less than this with the last one starts a stream of its own.
const SAME_FACE = 0.2;
const SPEAK_EVERY = 1500;

const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
const waiting = new Map();
let asked = 0;
worker.onmessage = ({ data: { id, result, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(result);
  else reject(new Error(error));
};
worker.onerror = (event) => {
  event.preventDefault();
  for (const { reject } of waiting.values()) reject(new Error('The page is incomplete or this browser is too old.'));
  waiting.clear();
};

function ask(kind, argument, transfer = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, kind, argument }, transfer);
  });
}

async function askImage(kind, source) {
  const bitmap = await bitmapOf(source);
  return ask(kind, bitmap, [bitmap]);
}

// The stored samples, whatever the colour profile. Only opaque images keep them: a canvas drops the colour of what is
// transparent.
const bitmapOf = (source) => createImageBitmap(source, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });

let config;
let smoother;
let times = {};
let rows = [];
let shown = null;
// Counts sources: what belongs to an earlier one is dropped.
let turn = 0;
let stream = null;
let lastBox = null;
let spokenAt = -Infinity;
let speaking;

const ready = ask('open').then((opened) => {
  ({ config, times } = opened);
  smoother = new KalmanSmoother(config.smoothing.process_noise, config.smoothing.measurement_noise);
  rows = config.classes.map(makeBar);
  $('bars').append(...rows.map(({ row }) => row));
  listModels(opened);
  for (const id of ['camera', 'open', 'models']) $(id).disabled = false;
  $('framing').hidden = Boolean(config.faces);
  $('hint').textContent = 'Start the camera, or drop an image or a video here.';
  return { models: config.models.map(({ name }) => name), times, chosen: opened.chosen, threads: opened.threads };
});
ready.catch((error) => {
  fail(error);
  $('hint').textContent = 'The network is not loaded.';
});

window.edgemotion = {
  /** Settles when the models are checked, opened and timed: {models, times, chosen, threads}. */
  ready,
  /** Classify a face's crop, whole, from a File, Blob or ImageBitmap: {label, probabilities, pixels}. */
  classify: (source) => ready.then(() => askImage('classify', source)),
  /** Find and classify the faces of a scene: {faces: [{box, score, label, probabilities, pixels}], ...}. */
  look: (source) => ready.then(() => askImage('look', source)),
  /** Use another of the build's models. */
  choose: (name) => ready.then(() => choose(name)),
};

function makeBar(name) {
  const row = document.createElement('li');
  const [title, track, value] = ['span', 'div', 'span'].map((kind) => document.createElement(kind));
  const fill = document.createElement('div');
  title.textContent = name;
  track.className = 'track';
  fill.className = 'fill';
  value.className = 'value';
  track.append(fill);
  row.append(title, track, value);
  return { row, fill, value };
}

function listModels({ chosen, threads }) {
  for (const { name, champion } of config.models) {
    $('models').append(new Option(`${name} · ${milliseconds(times[name])}${champion ? ' · champion' : ''}`, name));
  }
  const others = config.models.filter(({ name }) => name !== chosen);
  const slower = others.map(({ name }) => `${name} takes ${(times[name] / times[chosen]).toFixed(1)} times as long`);
  const fastest = others.length ? `Timed in this browser: ${chosen} is the fastest; ${slower.join(', ')}. ` : '';
  $('choice').textContent = `${fastest}It runs on ${threads === 1 ? 'one thread' : `${threads} threads`}.`;
  showModel(chosen);
}

function showModel(name) {
  $('models').value = name;
  $('digest').textContent = config.models.find((model) => model.name === name).sha256.slice(0, 12);
}

async function choose(name) {
  await ask('choose', name);
  smoother.reset();
  showModel(name);
  if (!image.hidden) await readImage(turn);
}

function begin() {
  turn += 1;
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  for (const element of [video, image]) {
    if (element.src.startsWith('blob:')) URL.revokeObjectURL(element.src);
    element.removeAttribute('src');
    element.hidden = true;
  }
  video.srcObject = null;
  $('error').hidden = true;
  $('empty').hidden = false;
  $('stop').hidden = true;
  stage.classList.remove('mirrored', 'tall');
  lastBox = null;
  smoother?.reset();
  show(null);
  return turn;
}

function reveal(element, width, height) {
  element.hidden = false;
  $('empty').hidden = true;
  $('stop').hidden = false;
  stage.classList.toggle('tall', height > width);
}

async function useCamera() {
  const mine = begin();
  try {
    if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError');
    const wanted = { facingMode: 'user', width: { ideal: 640 }, height: { ideal: 480 } };
    const given = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    if (mine !== turn) {
      given.getTracks().forEach((track) => track.stop());
      return;
    }
    stream = given;
    stream.getVideoTracks()[0].onended = () => {
      if (mine !== turn) return;
      begin();
      fail(new Error('The camera stopped; connect it again or open a file.'));
    };
    video.srcObject = stream;
    video.controls = false;
    stage.classList.add('mirrored');
    await play(mine);
  } catch (error) {
    if (mine !== turn) return;
    begin();
    fail(new Error(CAMERA_ERRORS[error.name] ?? `The camera cannot be used: ${error.message}`));
  }
}

const NO_CAMERA = 'There is no camera here; open an image or a video file.';
const CAMERA_ERRORS = {
  NotAllowedError: "The camera was refused; allow it in the browser's address bar, or open a file.",
  NotFoundError: NO_CAMERA,
  NotReadableError: 'The camera is busy in another program; close that, or open a file.',
  // What WebKit answers, although nothing asked of the camera is exact.
  OverconstrainedError: NO_CAMERA,
  SecurityError: 'A browser gives the camera only to pages from https or localhost; open a file, or the page there.',
};

async function useFile(file) {
  const mine = begin();
  const url = URL.createObjectURL(file);
  try {
    if (file.type.startsWith('video/')) {
      Object.assign(video, { src: url, controls: true, loop: true });
      await play(mine);
    } else {
      image.src = url;
      await image.decode();
      reveal(image, image.naturalWidth, image.naturalHeight);
    }
  } catch {
    if (mine !== turn) return;
    begin();
    fail(new Error(`${file.name || 'The file'} is no image or video that this browser can read.`));
    return;
  }
  if (mine === turn && !image.hidden) await readImage(mine).catch(fail);
}

async function readImage(mine) {
  const seen = await askImage('look', image);
  if (mine === turn) show(seen);
}

async function play(mine) {
  await video.play();
  reveal(video, video.videoWidth, video.videoHeight);
  follow(mine).catch((error) => mine === turn && fail(error));
}

// One frame at a time: frames that come while one is read are skipped, so nothing queues up.
async function follow(mine) {
  let last = performance.now();
  let interval = null;
  while (mine === turn) {
    await new Promise((resolve) => (video.requestVideoFrameCallback?.bind(video) ?? requestAnimationFrame)(resolve));
    if (mine !== turn) return;
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) continue;
    const seen = await askImage('look', video);
    if (mine !== turn) return;
    const now = performance.now();
    interval = interval === null ? now - last : 0.9 * interval + 0.1 * (now - last);
    last = now;
    show(seen, 1000 / interval);
  }
}

/** Show what was read in a frame; `rate` is in frames a second and given for moving pictures only. */
function show(seen, rate = null) {
  shown = seen;
  const main = seen?.faces.reduce((best, face) => (best && height(best) >= height(face) ? best : face), null) ?? null;
  if (!main || !lastBox || overlap(main.box, lastBox) < SAME_FACE) smoother?.reset();
  lastBox = main?.box ?? null;
  const steady = rate !== null && $('smooth').checked;
  if (main) main.shown = steady ? smoother.update(main.probabilities) : Array.from(main.probabilities);
  const best = main ? main.shown.indexOf(Math.max(...main.shown)) : -1;
  rows.forEach(({ row, fill, value }, index) => {
    const share = main?.shown[index] ?? 0;
    row.classList.toggle('best', index === best);
    fill.style.transform = `translateX(${(share - 1) * 100 - (share ? 0 : 1)}%)`;
    value.textContent = main ? percent(share) : '';
  });
  if (main) main.label = config.classes[best];
  const uncertain = main !== null && main.shown[best] < config.certain_from;
  $('label').textContent = main ? main.label : seen ? 'no face' : '–';
  $('percent').textContent = main ? percent(main.shown[best]) : '';
  $('doubt').textContent = uncertain ? 'uncertain' : seen?.faces.length > 1 ? 'the largest of the faces' : '';
  $('doubt').classList.toggle('marked', uncertain);
  $('detection').textContent = milliseconds(seen?.detection);
  $('inference').textContent = milliseconds(seen?.inference);
  $('rate').textContent = rate === null ? '–' : `${rate.toFixed(rate < 10 ? 1 : 0)} /s`;
  showPixels(main);
  draw();
  speak(main ? `${uncertain ? 'uncertain, ' : ''}${main.label}` : seen ? 'no face' : '');
}

const height = ({ box }) => box[3] - box[1];
const percent = (share) => `${Math.round(share * 100)} %`;
const milliseconds = (value) => (value == null ? '–' : `${value.toFixed(value < 10 ? 1 : 0)} ms`);

function overlap(one, two) {
  const across = Math.min(one[2], two[2]) - Math.max(one[0], two[0]);
  const down = Math.min(one[3], two[3]) - Math.max(one[1], two[1]);
  const shared = Math.max(0, across) * Math.max(0, down);
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return shared / (area(one) + area(two) - shared);
}

// A screen reader hears changes, and not more often than it can say them.
function speak(text) {
  clearTimeout(speaking);
  if (text === $('spoken').textContent) return;
  speaking = setTimeout(() => {
    spokenAt = performance.now();
    $('spoken').textContent = text;
  }, spokenAt + SPEAK_EVERY - performance.now());
}

function showPixels(face) {
  $('seen').hidden = !face;
  if (!face) return;
  const { width, height: tall, channels } = config.input;
  const data = new ImageData(width, tall);
  for (let pixel = 0; pixel < width * tall; pixel++) {
    for (let part = 0; part < 3; part++) {
      data.data[pixel * 4 + part] = face.pixels[pixel * channels + (channels === 3 ? part : 0)];
    }
    data.data[pixel * 4 + 3] = 255;
  }
  const canvas = $('pixels');
  if (canvas.width !== width || canvas.height !== tall) Object.assign(canvas, { width, height: tall });
  canvas.getContext('2d').putImageData(data, 0, 0);
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = [overlay.clientWidth, overlay.clientHeight];
  Object.assign(overlay, { width: across * ratio, height: down * ratio });
  if (!shown) return;
  const context = overlay.getContext('2d');
  context.scale(ratio, ratio);
  const scale = Math.min(across / shown.width, down / shown.height);
  const [left, top] = [(across - shown.width * scale) / 2, (down - shown.height * scale) / 2];
  for (const { box, label } of shown.faces) {
    const [x1, y1, x2, y2] = box.map((value) => value * scale);
    const start = stage.classList.contains('mirrored') ? shown.width * scale - x2 : x1;
    drawFace(context, left + start, top + y1, x2 - x1, y2 - y1, label, across);
  }
}

function drawFace(context, x, y, width, tall, label, across) {
  for (const [style, line] of [['rgb(0 0 0 / 45%)', 5], ['#7ff0e0', 2.5]]) {
    context.beginPath();
    context.roundRect(x, y, width, tall, Math.min(14, width / 6));
    Object.assign(context, { strokeStyle: style, lineWidth: line });
    context.stroke();
  }
  context.font = '600 15px system-ui, sans-serif';
  const long = context.measureText(label).width + 20;
  const from = Math.min(Math.max(4, x + width / 2 - long / 2), across - long - 4);
  const above = y > 36 ? y - 33 : y + 7;
  context.beginPath();
  context.roundRect(from, above, long, 26, 13);
  context.fillStyle = '#7ff0e0';
  context.fill();
  Object.assign(context, { fillStyle: '#06211e', textBaseline: 'middle' });
  context.fillText(label, from + 10, above + 13.5);
}

function fail(error) {
  $('error').textContent = error.message;
  $('error').hidden = false;
}

$('camera').onclick = useCamera;
$('stop').onclick = begin;
$('open').onclick = () => $('file').click();
$('file').onchange = ({ target }) => {
  if (target.files.length) useFile(target.files[0]);
  target.value = '';
};
$('smooth').onchange = () => smoother?.reset();
$('models').onchange = ({ target }) => choose(target.value).catch(fail);
new ResizeObserver(draw).observe(stage);

let dragged = 0;
window.addEventListener('dragenter', () => stage.classList.toggle('dropping', ++dragged > 0));
window.addEventListener('dragleave', () => stage.classList.toggle('dropping', --dragged > 0));
window.addEventListener('dragover', (event) => event.preventDefault());
window.addEventListener('drop', (event) => {
  event.preventDefault();
  dragged = 0;
  stage.classList.remove('dropping');
  const [file] = event.dataTransfer.files;
  if (file && config) useFile(file);
});
