// The Kalman filter of edgemotion.runtime.smoothing: class probabilities of a stream in, steadier ones out.

// The share of the measurement noise that remains for a frame of zero entropy: no frame is trusted without limit.
const FLOOR = 0.1;

export class KalmanSmoother {
  /** Take both noises as variances of class probabilities. */
  constructor(processNoise, measurementNoise) {
    this.processNoise = processNoise;
    this.measurementNoise = measurementNoise;
    this.reset();
  }

  /** Forget the stream; the next frame becomes the state. */
  reset() {
    this.state = null;
    this.variance = Infinity;
  }

  /** Take the next frame's probabilities; return the smoothed ones. */
  update(probabilities) {
    const measured = Array.from(probabilities);
    const noise = this.measurementNoise * Math.max(FLOOR, normalisedEntropy(measured));
    if (this.state === null) {
      this.state = measured;
      this.variance = noise;
    } else {
      const predicted = this.variance + this.processNoise;
      const gain = predicted / (predicted + noise);
      this.state = this.state.map((value, index) => value + gain * (measured[index] - value));
      this.variance = (1 - gain) * predicted;
    }
    return [...this.state];
  }
}

/** Shannon entropy of a distribution over its greatest value: 0 for certain, 1 for uniform. */
export function normalisedEntropy(probabilities) {
  const entropy = probabilities.reduce((sum, value) => (value > 0 ? sum - value * Math.log(value) : sum), 0);
  return entropy / Math.log(probabilities.length);
}
