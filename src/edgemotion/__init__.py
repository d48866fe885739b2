"""edgemotion: small, fast facial-emotion classifiers for edge devices."""

import os

# ONNX Runtime keeps a device id in the home folder and sends usage data, unless told not to before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
