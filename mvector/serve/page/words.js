// What the page says, in English and Chinese. {names} are filled in.

const ENGLISH = {
  title: "Speaker recognition",
  skip: "Skip to the content",
  keyButton: "API key",
  keyLabel: "API key of this service",
  keySave: "Use",
  keyHint: "It is kept until this tab is closed.",
  task: "What do you want to do?",
  identify: "Who is this?",
  verify: "Is it this person?",
  enroll: "Enroll a voice",
  name: "Name",
  nameMissing: "Write a name first.",
  consent: "Enroll people only if they agree: a voice is biometric data.",
  recording: "Recording",
  record: "Record",
  stop: "Stop",
  file: "Choose a file",
  level: "Level",
  say: "Say a few sentences, for five seconds or more, in a quiet place. Say them as you would to a person.",
  insecure: "Browsers record only on pages from https:// or from localhost, and this page came over {protocol} from {host}. Open it over HTTPS, or choose a file that was recorded elsewhere.",
  unsupported: "This browser cannot record on a page. Choose a file that was recorded elsewhere.",
  denied: "The microphone was not allowed. Allow it in the browser's settings for this page, then record again.",
  noDevice: "No microphone was found. Connect one, then record again.",
  deviceFailed: "The microphone cannot be used ({reason}).",
  waveform: "Waveform of the recording, {seconds} s",
  started: "Recording has started.",
  stopped: "Recorded {seconds} s.",
  sending: "Listening to it …",
  tooLargeFile: "This file has {size} MB; the service takes at most {limit} MB.",
  isPerson: "This is {name}.",
  isNot: "This is not {name}.",
  undecided: "There is a score, but no verdict.",
  isNobody: "Nobody of the enrolled people.",
  enrolled: "{name} is enrolled.",
  utterances: "{count} recordings",
  utterance: "1 recording",
  score: "score {score}",
  threshold: "threshold {threshold}",
  noThreshold: "this model has no threshold",
  probability: "probability of one person {probability} % (if one half before)",
  margin: "ahead of the second by {margin}",
  scale: "Score {score} on a scale from {low} to {high}; it counts as the same person above {threshold}.",
  scaleScore: "score",
  scaleThreshold: "threshold",
  people: "Enrolled people",
  nobody: "Nobody is enrolled yet.",
  count: "{count} people",
  onePerson: "1 person",
  hiddenList: "This key may not list the people.",
  more: "Show more",
  remove: "Delete",
  removeName: "Delete {name}",
  confirm: "Delete {name} and all of this person's recordings for good?",
  removed: "{name} is deleted.",
  cancel: "Cancel",
  kept: "Recordings of enrolled people are kept on the service.",
  notKept: "Recordings are not kept; what is kept of a voice is a list of numbers.",
  synthetic: "This model was trained on synthetic voices and is only for trying out.",
  honest: "A voice tells whose voice it is, not that the person is speaking now: a recording that is played back, or a cloned voice, may be accepted. Do not let it be the only lock.",
  unreachable: "The service cannot be reached. Is it running?",
  tooManyWait: "Too many requests. Try again in {seconds} s.",
  reasons: {
    below_threshold: "The score is below the threshold.",
    too_little_speech: "There is too little speech in it; say a few sentences.",
    no_speech: "No speech was found in it; record again, close to the microphone.",
    silence: "It is silent; check the microphone.",
    too_noisy: "There is too much noise; record in a quieter place.",
    clipped: "It is too loud and distorted; move away from the microphone.",
    nobody_enrolled: "Nobody is enrolled yet.",
    no_threshold: "This model has no threshold, so there is no verdict.",
  },
  errors: {
    key_missing: "This service needs an API key.",
    key_unknown: "This API key is not known.",
    scope_missing: "This API key may not do that.",
    person_unknown: "Nobody of this name is enrolled.",
    too_large: "The file is too large.",
    too_long: "The recording is too long; at most {limit} s.",
    unsupported_audio: "This file cannot be read as sound. Take WAV, FLAC, OGG, MP3 or M4A.",
    unusable_audio: "The recording cannot be used; it is damaged, empty or of a rare kind.",
    too_short: "The recording is too short; say a few sentences.",
    no_speech: "No speech was found in it; record again, close to the microphone and with less noise.",
    spoofing_suspected: "It does not sound like a person who is speaking now.",
    bad_field: "Something in the form cannot be used: {message}",
    busy: "The service has too much to do. Try again in a moment.",
    timeout: "The service has too much to do. Try again in a moment.",
    not_ready: "The service is starting. Try again in a moment.",
  },
};

const CHINESE = {
  title: "声纹识别",
  skip: "跳到正文",
  keyButton: "API 密钥",
  keyLabel: "本服务的 API 密钥",
  keySave: "使用",
  keyHint: "只保存到关闭此标签页为止。",
  task: "您想做什么？",
  identify: "这是谁？",
  verify: "是不是本人？",
  enroll: "注册声音",
  name: "姓名",
  nameMissing: "请先填写姓名。",
  consent: "请在本人同意后再注册：声音属于生物特征数据。",
  recording: "录音",
  record: "开始录音",
  stop: "停止",
  file: "选择文件",
  level: "音量",
  say: "请在安静的地方像平时说话一样说几句话，五秒以上。",
  insecure: "浏览器只允许在 https:// 或 localhost 的页面上录音，而此页面是通过 {protocol} 从 {host} 打开的。请改用 HTTPS 打开，或选择已录好的文件。",
  unsupported: "此浏览器不能在网页上录音。请选择已录好的文件。",
  denied: "没有获得使用麦克风的许可。请在浏览器中为此页面允许麦克风，然后重新录音。",
  noDevice: "没有找到麦克风。请接上麦克风后重新录音。",
  deviceFailed: "无法使用麦克风（{reason}）。",
  waveform: "录音的波形，{seconds} 秒",
  started: "开始录音。",
  stopped: "已录音 {seconds} 秒。",
  sending: "正在识别……",
  tooLargeFile: "文件有 {size} MB，本服务最多接受 {limit} MB。",
  isPerson: "这是{name}。",
  isNot: "这不是{name}。",
  undecided: "有分数，但没有结论。",
  isNobody: "不是已注册的任何人。",
  enrolled: "{name}已注册。",
  utterances: "{count} 段录音",
  utterance: "1 段录音",
  score: "分数 {score}",
  threshold: "阈值 {threshold}",
  noThreshold: "此模型没有阈值",
  probability: "是同一人的概率 {probability} %（事先按一半计）",
  margin: "领先第二名 {margin}",
  scale: "分数 {score}，刻度从 {low} 到 {high}；高于 {threshold} 视为同一人。",
  scaleScore: "分数",
  scaleThreshold: "阈值",
  people: "已注册的人",
  nobody: "还没有人注册。",
  count: "{count} 人",
  onePerson: "1 人",
  hiddenList: "此密钥不能查看名单。",
  more: "显示更多",
  remove: "删除",
  removeName: "删除{name}",
  confirm: "要彻底删除{name}及其全部录音吗？",
  removed: "{name}已删除。",
  cancel: "取消",
  kept: "已注册的人的录音会保存在服务上。",
  notKept: "不保存录音；关于声音只保存一组数字。",
  synthetic: "此模型用合成语音训练，只供试用。",
  honest: "声音能说明是谁的声音，但不能说明本人此刻正在说话：播放的录音或克隆的声音也可能被接受。不要把它作为唯一的锁。",
  unreachable: "无法连接到服务。服务是否在运行？",
  tooManyWait: "请求过多，请在 {seconds} 秒后重试。",
  reasons: {
    below_threshold: "分数低于阈值。",
    too_little_speech: "其中的语音太少，请多说几句话。",
    no_speech: "没有找到语音，请靠近麦克风重新录音。",
    silence: "没有声音，请检查麦克风。",
    too_noisy: "噪声太大，请在更安静的地方录音。",
    clipped: "声音过大而失真，请离麦克风远一些。",
    nobody_enrolled: "还没有人注册。",
    no_threshold: "此模型没有阈值，因此没有结论。",
  },
  errors: {
    key_missing: "本服务需要 API 密钥。",
    key_unknown: "没有这个 API 密钥。",
    scope_missing: "此 API 密钥不能这样做。",
    person_unknown: "没有这个姓名的注册者。",
    too_large: "文件太大。",
    too_long: "录音太长，最多 {limit} 秒。",
    unsupported_audio: "此文件不能作为声音读取。请使用 WAV、FLAC、OGG、MP3 或 M4A。",
    unusable_audio: "录音无法使用：已损坏、是空的或格式少见。",
    too_short: "录音太短，请多说几句话。",
    no_speech: "没有找到语音，请在较安静的地方靠近麦克风重新录音。",
    spoofing_suspected: "听起来不像本人此刻正在说话。",
    bad_field: "表单中有内容无法使用：{message}",
    busy: "服务太忙，请稍后重试。",
    timeout: "服务太忙，请稍后重试。",
    not_ready: "服务正在启动，请稍后重试。",
  },
};

const KEPT = "mvector-language";
let words = ENGLISH;

/** The language chosen here before, else the browser's: "zh" or "en". */
export function preferredLanguage() {
  let kept = null;
  try { kept = localStorage.getItem(KEPT); } catch { /* storage may be forbidden */ }
  if (kept === "zh" || kept === "en") return kept;
  for (const language of navigator.languages ?? [navigator.language]) {
    if (/^zh\b/i.test(language)) return "zh";
    if (/^en\b/i.test(language)) return "en";
  }
  return "en";
}

export function setLanguage(language, keep = false) {
  words = language === "zh" ? CHINESE : ENGLISH;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  if (keep) try { localStorage.setItem(KEPT, language); } catch { /* as above */ }
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = words[element.dataset.word];
}

export function say(name, values = {}) {
  return fill(words[name] ?? name, values);
}

/** A sentence for a kind of error or reason of the service; null where the page knows none. */
export function sayKind(group, kind, values = {}) {
  const text = words[group][kind];
  return text === undefined ? null : fill(text, values);
}

/** For tests: both catalogues must have the same names. */
export const catalogues = { ENGLISH, CHINESE };

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
}
