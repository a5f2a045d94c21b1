"""Speaker (voiceprint) recognition: data lists → training → evaluation → comparing, enrolling, recognising."""

__version__ = "2.0.0.dev0"
