"""Sound → waveform: decoding, resampling, level, speech detection, windows over long recordings, pictures.

A waveform is mono float32 [T] in [-1, 1]. The libraries behind it (soundfile, soxr, PyAV, matplotlib) are imported
when a function needs them.
"""

from mvector.audio.decode import AudioInfo
from mvector.audio.level import normalize_level, rms_dbfs
from mvector.audio.load import MIN_DURATION_S, audio_info, load_audio
from mvector.audio.pictures import save_spectrogram_picture, save_waveform_picture
from mvector.audio.resample import resample
from mvector.audio.speech import find_speech, require_speech, trim_silence
from mvector.audio.windows import iter_windows

__all__ = [
    "MIN_DURATION_S",
    "AudioInfo",
    "audio_info",
    "find_speech",
    "iter_windows",
    "load_audio",
    "normalize_level",
    "require_speech",
    "resample",
    "rms_dbfs",
    "save_spectrogram_picture",
    "save_waveform_picture",
    "trim_silence",
]
