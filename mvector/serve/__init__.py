"""The HTTP service and its web page: `python -m mvector.serve`, or `create_app(Settings(...))` for another ASGI server.

What a request passes: limits.py (host, origin, size) → app.py (key, scope, rate) → uploads.py (body) → decoders.py
(a process for untrusted bytes) → spoofing.py (by choice) → batching.py inside MVectorPredictor → answers.py.
"""

from mvector.serve.settings import Settings

__all__ = ["Settings"]
