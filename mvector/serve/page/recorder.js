// Microphone → samples, and samples → a 16-bit WAV file.

/** "insecure", "unsupported" or null: why this page cannot record. */
export function whyNoRecording() {
  if (!window.isSecureContext) return "insecure";
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return "unsupported";
  return null;
}

/** Records until `stop`; `onBlock(samples)` gets each block of a few milliseconds. */
export class Recorder {
  constructor(onBlock) {
    this.onBlock = onBlock;
    this.blocks = [];
    this.length = 0;
  }

  async start() {
    // What browsers do to a voice for telephony changes it: the gain pumps, and noise suppression takes parts of it away.
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    try {
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
      this.node = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0 });
      this.node.port.onmessage = (event) => {
        this.blocks.push(event.data);
        this.length += event.data.length;
        this.onBlock(event.data);
      };
      this.context.createMediaStreamSource(this.stream).connect(this.node);
      await this.context.resume();
    } catch (error) {
      this.release();
      throw error;
    }
  }

  get seconds() {
    return this.context ? this.length / this.context.sampleRate : 0;
  }

  /** { samples, rate } of all that was recorded. */
  stop() {
    const rate = this.context.sampleRate;
    this.release();
    const samples = new Float32Array(this.length);
    let at = 0;
    for (const block of this.blocks) {
      samples.set(block, at);
      at += block.length;
    }
    return { samples, rate };
  }

  release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.node) this.node.port.onmessage = null;
    this.context?.close();
  }
}

/** A WAV file, 16 bit, one channel, as a Blob. */
export function wavFile(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // size of the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a sample
  view.setUint16(34, 16, true); // bits
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  for (let i = 0; i < samples.length; i++) {
    const value = Math.max(-1, Math.min(1, samples[i]));
    view.setInt16(44 + 2 * i, Math.round(value * 32767), true);
  }
  return new Blob([view], { type: "audio/wav" });
}

/** Level of a block from 0 (-60 dBFS and below) to 1 (full scale), by its peak. */
export function meterLevel(samples) {
  let peak = 0;
  for (const value of samples) peak = Math.max(peak, Math.abs(value));
  return Math.max(0, Math.min(1, 1 + Math.log10(Math.max(peak, 1e-6)) / 3));
}
