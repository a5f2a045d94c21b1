// Puts the page together: recording or file → service → answer; the list of people.

import { drawScale, drawWaveform } from "./pictures.js";
import { meterLevel, Recorder, wavFile, whyNoRecording } from "./recorder.js";
import * as service from "./service.js";
import { preferredLanguage, say, sayKind, setLanguage } from "./words.js";

const PEOPLE_AT_ONCE = 50;
const $ = (id) => document.getElementById(id);

const state = {
  language: "en",
  about: null,
  recorder: null,
  sound: null, // what will be sent: a Blob or File
  samples: null, // what is drawn, where the browser can decode it
  seconds: null,
  shown: 0,
  people: 0,
  leaving: null, // who is to be deleted, once that is confirmed
  redraw: () => {}, // says the last answer again, in another language
};

// ---------------------------------------------------------------- words

function speak(language, keep = false) {
  state.language = language;
  setLanguage(language, keep);
  const other = $("language");
  other.textContent = language === "zh" ? "English" : "中文";
  other.lang = language === "zh" ? "en" : "zh";
  showTask();
  showRecording();
  showMicrophone();
  showAbout();
  showCount();
  for (const button of document.querySelectorAll("#people button")) nameRemoval(button);
  state.redraw();
}

function sentence(error) {
  if (error.kind === "unreachable") return say("unreachable");
  if (error.kind === "too_many_requests") return say("tooManyWait", { seconds: error.retryAfter || 60 });
  const values = { message: error.message, limit: state.about?.max_duration_s ?? "" };
  return sayKind("errors", error.kind, values) ?? error.message;
}

function notify(text) {
  $("notice").textContent = text ?? "";
  $("notice").hidden = !text;
}

function report(error) {
  if (!(error instanceof service.ServiceError)) throw error;
  if (["key_missing", "key_unknown"].includes(error.kind)) askForKey();
  notify(sentence(error));
}

// ---------------------------------------------------------------- the task

const task = () => document.querySelector("input[name=task]:checked").value;

function showTask() {
  const chosen = task();
  $("name-row").hidden = chosen === "identify";
  $("name-hint").hidden = chosen !== "enroll";
  $("name-hint").textContent = say("consent");
  $("send").dataset.word = chosen;
  $("send").textContent = say(chosen);
}

// ---------------------------------------------------------------- sound

function showMicrophone() {
  const why = whyNoRecording();
  $("no-microphone").hidden = why === null;
  $("record").disabled = why !== null;
  if (why) $("no-microphone").textContent = say(why, { protocol: location.protocol + "//", host: location.host });
}

function showRecording() {
  const running = state.recorder !== null;
  $("record").classList.toggle("recording", running);
  $("record-word").dataset.word = running ? "stop" : "record";
  $("record-word").textContent = say(running ? "stop" : "record");
  $("level-label").hidden = !running;
  $("send").disabled = running || state.sound === null;
  if (state.seconds !== null) $("waveform").setAttribute("aria-label", say("waveform", { seconds: state.seconds.toFixed(1) }));
}

async function startRecording() {
  notify(null);
  forgetSound();
  const recent = [];
  const recorder = new Recorder((block) => {
    recent.push(block);
    if (recent.length >= 16) { // about every 50 ms
      $("level").value = Math.max(...recent.splice(0).map(meterLevel));
      $("timer").textContent = `${recorder.seconds.toFixed(1)} s`;
    }
    if (recorder.seconds >= (state.about?.max_duration_s ?? 60) - 0.5) stopRecording();
  });
  try {
    await recorder.start();
  } catch (error) {
    const known = { NotAllowedError: "denied", NotFoundError: "noDevice" }[error.name];
    notify(known ? say(known) : say("deviceFailed", { reason: error.name }));
    return;
  }
  state.recorder = recorder;
  showRecording();
}

function stopRecording() {
  if (!state.recorder) return;
  const { samples, rate } = state.recorder.stop();
  state.recorder = null;
  if (samples.length) takeSound(wavFile(samples, rate), samples, samples.length / rate);
  showRecording();
}

async function takeFile(file) {
  notify(null);
  forgetSound();
  const limit = state.about?.max_body_bytes ?? Infinity;
  if (file.size > limit - 4096) {
    const megabytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
    notify(say("tooLargeFile", { size: megabytes(file.size), limit: megabytes(limit) }));
    return;
  }
  takeSound(file, null, null);
  try { // only for the picture: what the browser cannot decode, the service may
    const context = new OfflineAudioContext(1, 1, 16000);
    const decoded = await context.decodeAudioData(await file.arrayBuffer());
    if (state.sound === file) takeSound(file, decoded.getChannelData(0), decoded.duration);
  } catch { /* no picture */ }
}

function takeSound(sound, samples, seconds) {
  forgetSound();
  Object.assign(state, { sound, samples, seconds });
  $("playback").src = URL.createObjectURL(sound);
  $("playback").hidden = false;
  $("timer").textContent = seconds === null ? sound.name ?? "" : `${seconds.toFixed(1)} s`;
  $("waveform").hidden = samples === null;
  if (samples) drawWaveform($("waveform"), samples);
  showRecording();
}

function forgetSound() {
  if ($("playback").src) URL.revokeObjectURL($("playback").src);
  $("playback").removeAttribute("src");
  $("playback").hidden = true;
  $("waveform").hidden = true;
  $("timer").textContent = "";
  Object.assign(state, { sound: null, samples: null, seconds: null });
  showRecording();
}

// ---------------------------------------------------------------- the answer

async function ask() {
  const chosen = task(), name = $("name").value.trim();
  if (chosen !== "identify" && !name) {
    notify(say("nameMissing"));
    $("name").focus();
    return;
  }
  notify(null);
  $("send").disabled = true;
  showAnswer(say("sending"));
  try {
    const answer = await service.send(chosen, name, state.sound);
    state.redraw = () => ({ identify: showIdentified, verify: showVerified, enroll: showEnrolled })[chosen](answer);
    state.redraw();
    if (chosen === "enroll") {
      forgetSound(); // the same recording twice would only count itself double
      await showPeople();
    }
  } catch (error) {
    $("result").hidden = true;
    state.redraw = () => {};
    report(error);
  } finally {
    showRecording();
  }
}

function showIdentified(answer) {
  const known = answer.name !== null;
  showAnswer(known ? say("isPerson", { name: answer.name }) : say("isNobody"), known, answer);
}

function showVerified(answer) {
  const text = answer.same === null ? "undecided" : answer.same ? "isPerson" : "isNot";
  showAnswer(say(text, { name: answer.name }), answer.same, answer);
}

function showEnrolled(answer) {
  showAnswer(say("enrolled", { name: answer.name }), true, answer);
  $("numbers").textContent = recordings(answer.utterances);
}

function showAnswer(text, good = null, answer = {}) {
  $("result").hidden = false;
  $("verdict").textContent = text;
  $("verdict").className = good === null ? "" : good ? "good" : "bad";
  $("explanation").textContent = answer.reason ? sayKind("reasons", answer.reason) ?? answer.reason : "";
  $("numbers").textContent = numbers(answer).join(" · ");
  $("warnings").replaceChildren(...(answer.warnings ?? []).map((warning) => item(warning)));
  const { score, threshold } = answer, drawn = Number.isFinite(score) && Number.isFinite(threshold);
  $("scale").toggleAttribute("hidden", !drawn);
  if (drawn) {
    const ends = drawScale($("scale"), score, threshold, { score: say("scaleScore"), threshold: say("scaleThreshold") });
    $("scale").setAttribute("aria-label", say("scale", { score: score.toFixed(2), threshold: threshold.toFixed(2), ...ends }));
  }
}

function numbers(answer) {
  const parts = [];
  if (Number.isFinite(answer.score)) {
    parts.push(say("score", { score: answer.score.toFixed(3) }));
    const known = Number.isFinite(answer.threshold);
    parts.push(known ? say("threshold", { threshold: answer.threshold.toFixed(3) }) : say("noThreshold"));
  }
  if (Number.isFinite(answer.probability)) parts.push(say("probability", { probability: (100 * answer.probability).toFixed(1) }));
  if (Number.isFinite(answer.margin)) parts.push(say("margin", { margin: answer.margin.toFixed(3) }));
  return parts;
}

function item(text) {
  const element = document.createElement("li");
  element.textContent = text;
  return element;
}

// ---------------------------------------------------------------- people

const recordings = (count) => (count === 1 ? say("utterance") : say("utterances", { count }));

async function showPeople(further = false) {
  const offset = further ? state.shown : 0;
  try {
    const { people, count } = await service.listPeople(offset, PEOPLE_AT_ONCE);
    if (!further) {
      $("people").replaceChildren();
      $("names").replaceChildren();
    }
    for (const person of people) addPerson(person);
    Object.assign(state, { shown: offset + people.length, people: count });
    showCount();
  } catch (error) {
    if (error.kind === "scope_missing") $("people-state").textContent = say("hiddenList");
    else report(error);
  }
}

function addPerson(person) {
  const entry = document.createElement("li"), who = document.createElement("span"), few = document.createElement("small");
  who.className = "who";
  who.textContent = person.name;
  few.dataset.count = person.utterances;
  who.append(few);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.dataset.name = person.name;
  button.addEventListener("click", () => confirmRemoval(person.name));
  entry.append(who, button);
  nameRemoval(button);
  $("people").append(entry);
  const suggestion = document.createElement("option");
  suggestion.value = person.name;
  $("names").append(suggestion);
}

function nameRemoval(button) {
  button.textContent = say("remove");
  button.setAttribute("aria-label", say("removeName", { name: button.dataset.name }));
  const few = button.previousElementSibling.querySelector("small");
  few.textContent = recordings(Number(few.dataset.count));
}

function showCount() {
  if (state.about === null) return;
  $("people-state").textContent =
    state.people === 0 ? say("nobody") : state.people === 1 ? say("onePerson") : say("count", { count: state.people });
  $("more").hidden = state.shown >= state.people;
}

function confirmRemoval(name) {
  state.leaving = name;
  $("confirm-text").textContent = say("confirm", { name });
  $("confirm").returnValue = "no";
  $("confirm").showModal();
}

async function removeConfirmed() {
  const name = state.leaving;
  if ($("confirm").open || name === null) return; // told late about an earlier closing
  state.leaving = null;
  if ($("confirm").returnValue !== "yes") return;
  try {
    await service.removePerson(name);
    await showPeople();
    $("people-state").textContent = `${say("removed", { name })} ${$("people-state").textContent}`;
  } catch (error) {
    report(error);
  }
  $("people-title").scrollIntoView({ block: "nearest" });
}

// ---------------------------------------------------------------- key and start

function askForKey() {
  $("key-form").hidden = false;
  $("key").focus();
}

function showAbout() {
  if (!state.about) return;
  const parts = [say(state.about.keep_audio ? "kept" : "notKept"), `mvector ${state.about.version}`];
  if (state.about.synthetic) parts.unshift(say("synthetic"));
  $("about").textContent = parts.join(" ");
}

async function start() {
  speak(preferredLanguage());
  try {
    state.about = await service.about();
  } catch (error) {
    report(error);
    return;
  }
  showAbout();
  $("key-button").hidden = !state.about.keys;
  if (state.about.keys && !service.hasKey()) askForKey();
  else await showPeople();
}

$("language").addEventListener("click", () => speak(state.language === "zh" ? "en" : "zh", true));
$("key-button").addEventListener("click", askForKey);
$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  service.useKey($("key").value.trim());
  $("key").value = "";
  $("key-form").hidden = true;
  notify(null);
  await showPeople();
});
for (const choice of document.querySelectorAll("input[name=task]")) choice.addEventListener("change", showTask);
$("record").addEventListener("click", () => (state.recorder ? stopRecording() : startRecording()));
$("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) takeFile(file);
  event.target.value = ""; // the same file again is a change, too
});
$("task-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("send").disabled) ask();
});
$("confirm").addEventListener("close", removeConfirmed);
$("more").addEventListener("click", () => showPeople(true));
addEventListener("resize", () => state.samples && drawWaveform($("waveform"), state.samples));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.samples && drawWaveform($("waveform"), state.samples));

start();
